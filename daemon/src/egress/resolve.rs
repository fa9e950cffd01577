//! From names to addresses. Behind a trait, so that tests can be the name server of whoever attacks.

use std::io;
use std::net::SocketAddr;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Whoever knows the addresses of names. What he says is checked for every connection anew.
pub trait Resolver: Send + Sync {
    /// Every address of a host.
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The host's own resolver.
pub(super) struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::{Egress, EgressError, EgressOptions};
    use super::*;
    use crate::model::http::{EgressRules, OutgoingRequest, Redirects};

    /// Answers by a plan: the first question about a name with the first list, and so on; the last one
    /// stays.
    #[derive(Default)]
    struct Planned {
        answers: HashMap<&'static str, Vec<Vec<&'static str>>>,
        asked: Mutex<Vec<String>>,
    }

    impl Planned {
        fn new(answers: &[(&'static str, &[&[&'static str]])]) -> Arc<Planned> {
            let answers = answers
                .iter()
                .map(|(name, plan)| (*name, plan.iter().map(|it| it.to_vec()).collect()))
                .collect();
            Arc::new(Planned { answers, ..Planned::default() })
        }

        fn asked(&self) -> usize {
            self.asked.lock().expect("no panics").len()
        }
    }

    impl Resolver for Planned {
        fn resolve(
            &self,
            host: String,
            port: u16,
        ) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let mut asked = self.asked.lock().expect("no panics");
            let before = asked.iter().filter(|it| **it == host).count();
            asked.push(host.clone());
            let found = self.answers.get(host.as_str()).map(|plan| {
                let now = &plan[before.min(plan.len() - 1)];
                now.iter().map(|it| SocketAddr::new(it.parse().expect(it), port)).collect()
            });
            let found = found.ok_or_else(|| io::Error::other("no such name"));
            async move { found }.boxed()
        }
    }

    /// Answers every connection once, by an HTTP answer that names where it was reached, and closes it.
    async fn server() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut read = [0; 4096];
                let _ = stream.read(&mut read).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = stream.write_all(answer).await;
            }
        });
        port
    }

    fn request(url: &str) -> OutgoingRequest {
        OutgoingRequest {
            method: "POST".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
            timeout: Duration::from_secs(5),
            redirects: Redirects::Manual,
        }
    }

    /// An egress for which this network, and nothing else of the host's own, is open.
    fn egress(resolver: &Arc<Planned>, open: &str) -> Egress {
        let internal = vec![open.parse().expect(open)];
        let options = EgressOptions { internal, ..EgressOptions::default() };
        Egress::new(options).expect("options").resolving_by(resolver.clone())
    }

    async fn outcome(egress: &Egress, url: &str) -> Result<u16, EgressError> {
        egress.send(request(url), &EgressRules::default()).await.map(|it| it.status)
    }

    #[tokio::test]
    async fn the_address_that_was_checked_is_the_one_that_is_used() {
        let port = server().await;
        // The second answer would lead to the metadata service: nobody may ask twice.
        let resolver = Planned::new(&[("rebind.test", &[&["127.0.0.1"], &["169.254.169.254"]])]);
        let egress = egress(&resolver, &format!("127.0.0.0/8:{port}"));
        let url = format!("http://rebind.test:{port}/");
        assert_eq!(outcome(&egress, &url).await, Ok(200));
        assert_eq!(resolver.asked(), 1, "one look-up for one connection");
        let second = outcome(&egress, &url).await.expect_err("it leads elsewhere now");
        assert!(second.to_string().contains("a cloud metadata address"), "{second}");
        assert!(!second.is_transient());
        assert_eq!(resolver.asked(), 2);
    }

    #[tokio::test]
    async fn one_bad_address_makes_a_name_bad() {
        let port = server().await;
        let resolver = Planned::new(&[
            ("both.test", &[&["127.0.0.1", "169.254.169.254"]]),
            ("mapped.test", &[&["::ffff:169.254.169.254"]]),
            ("nat64.test", &[&["64:ff9b::a9fe:a9fe"]]),
            ("six.test", &[&["fe80::1"]]),
            ("here.test", &[&["0.0.0.0"]]),
        ]);
        let egress = egress(&resolver, &format!("127.0.0.0/8:{port}"));
        for name in ["both", "mapped", "nat64", "six", "here"] {
            let url = format!("http://{name}.test:{port}/");
            let refused = outcome(&egress, &url).await.expect_err(name);
            assert!(matches!(refused, EgressError::Refused(_)), "{name}: {refused}");
            let (host, rules) = (format!("{name}.test"), EgressRules::default());
            let refused = egress.connect(&host, port, &rules).await.expect_err(name);
            assert!(matches!(refused, EgressError::Refused(_)), "{name}: {refused}");
        }
    }

    #[tokio::test]
    async fn addresses_are_refused_however_they_are_written() {
        let resolver = Planned::new(&[]);
        let egress = egress(&resolver, "10.0.0.0/8:1");
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:7f00:1]",
            "[::ffff:169.254.169.254]",
            "169.254.169.254",
            "0",
        ] {
            let refused = outcome(&egress, &format!("http://{host}:8080/")).await.expect_err(host);
            assert!(matches!(refused, EgressError::Refused(_)), "{host}: {refused}");
        }
        assert_eq!(resolver.asked(), 0, "no address is looked up");
    }
}
