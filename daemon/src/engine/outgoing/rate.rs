//! How many requests an endpoint gets in a second. Pure: a bucket that fills with time.

/// A bucket of at most one second's worth.
#[derive(Debug, Default)]
pub struct Rate {
    per_second: Option<u32>,
    /// In thousandths of a request.
    left: u64,
    filled_ms: u64,
}

const ONE: u64 = 1_000;

impl Rate {
    /// As many, or as many as there are.
    pub fn set(&mut self, per_second: Option<u32>) {
        if self.per_second != per_second {
            *self =
                Rate { per_second, left: u64::from(per_second.unwrap_or(0)) * ONE, filled_ms: 0 };
        }
    }

    /// How long to wait until one may begin; nothing when it may now.
    pub fn wait_ms(&mut self, now_ms: u64) -> Option<u64> {
        let per_second = u64::from(self.per_second?.max(1));
        // A clock that was set back gives nothing, and takes nothing.
        let passed_ms = now_ms.saturating_sub(self.filled_ms).min(1_000);
        self.left = (self.left + passed_ms * per_second).min(per_second * ONE);
        self.filled_ms = now_ms;
        (self.left < ONE).then(|| (ONE - self.left).div_ceil(per_second))
    }

    /// One begins.
    pub fn take(&mut self, now_ms: u64) {
        if self.per_second.is_some() {
            self.left = self.left.saturating_sub(ONE);
            self.filled_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(rate: &mut Rate, from_ms: u64, to_ms: u64) -> usize {
        let mut begun = 0;
        let mut now_ms = from_ms;
        while now_ms < to_ms {
            match rate.wait_ms(now_ms) {
                None => {
                    rate.take(now_ms);
                    begun += 1;
                }
                Some(pause_ms) => now_ms += pause_ms,
            }
        }
        begun
    }

    #[test]
    fn a_second_has_so_many_and_no_more() {
        let mut rate = Rate::default();
        rate.set(Some(5));
        assert_eq!(
            begun(&mut rate, 10_000, 11_000),
            9,
            "one second's worth at once, then one each 200 ms"
        );
        assert_eq!(begun(&mut rate, 11_000, 12_000), 5);
        assert_eq!(begun(&mut rate, 60_000, 60_001), 5, "what was not used is not saved up");
        assert!(rate.wait_ms(0).is_some_and(|it| it <= 200), "the clock was set back");
        rate.set(None);
        assert_eq!(rate.wait_ms(0), None);
    }
}
