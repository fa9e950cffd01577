//! Secrets are found in every form that they take by accident, and nothing else is touched.

use proptest::prelude::*;

use super::*;

fn masked(secrets: &[&str], text: &str) -> String {
    let mut left = text.to_owned();
    for range in SecretForms::of(secrets.iter().copied()).find(text).into_iter().rev() {
        left.replace_range(range, "#");
    }
    left
}

/// What is found, and how many steps that took.
fn counted(secrets: &[&str], text: &str) -> (Vec<Range<usize>>, usize) {
    let mut work = Work { left: usize::MAX };
    let found = SecretForms::of(secrets.iter().copied()).find_within(text, &mut work);
    (found, usize::MAX - work.left)
}

#[test]
fn hostile_texts_take_a_few_steps_for_each_byte() {
    const MANY: usize = 1_000_000;
    let secret = "to\\ken-\"0123456789";
    let zeros = "\0".repeat(48);
    let base64 = STANDARD.encode(format!("{secret}{secret}"));
    let prefixes: Vec<String> = (6..60).map(|it| "pq".repeat(it)).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let other: Vec<String> = (0..2000).map(|it| format!("{it}-is-another")).collect();
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    for (secrets, text, limit) in [
        (&[secret][..], "\\".repeat(MANY), 2),
        (&["\\\\\\abcdef"], "\\".repeat(MANY), 16),
        (&["a\\b\\c\\d"], "a\\\\".repeat(MANY), 8),
        (&["a\\b\\c\\d"], format!("a{}", "\\".repeat(MANY)).repeat(3), 8),
        (&[secret], "=".repeat(MANY), 2),
        (&[secret], "%".repeat(MANY), 2),
        (&[secret], "t".repeat(MANY), 4),
        (&[secret], secret.repeat(100_000), 4),
        (&[secret], base64.repeat(100_000), 4),
        (&[secret], hex::encode(secret).repeat(100_000), 4),
        // Encoded it is one digit again and again, as the text is.
        (&[&zeros], "A".repeat(MANY), 8),
        (&[&zeros], "A".repeat(63).to_owned() + &"A-\"".repeat(MANY), 8),
        (&[&zeros], "0".repeat(MANY), 8),
        (&other, "%\\/".repeat(MANY), 2),
        (&[secret], "…".repeat(MANY), 2),
        (&[secret], "…0123456789".repeat(100_000), 16),
        (&[secret], "…\\u0030".repeat(100_000), 16),
    ] {
        let (found, steps) = counted(secrets, &text);
        let start: String = text.chars().take(20).collect();
        assert!(steps <= text.len() * limit + 100, "{start}: {steps} for {}", text.len());
        assert_eq!(SecretForms::of(secrets.iter().copied()).find(&text), found, "{start}");
    }
    let (found, steps) = counted(&prefixes, &"pq".repeat(5_000));
    assert_eq!(found, std::slice::from_ref(&(0..10_000)));
    assert!(steps > 10_000 * STEPS_PER_BYTE, "not a text that takes too much: {steps}");
    let found = SecretForms::of(prefixes.iter().copied()).find(&"pq".repeat(5_000));
    assert_eq!(found, std::slice::from_ref(&(0..10_000)));
}

#[test]
fn what_takes_too_many_steps_is_masked_whole() {
    let secret = "é".repeat(5_000) + "!";
    let text = "before ".to_owned() + &"é".repeat(4_999).repeat(10) + " after";
    let left = masked(&[&secret], &text);
    assert!(left.starts_with("before ") && left.ends_with('#'), "{left}");
    assert_eq!(masked(&[&secret], "before ééé after"), "before ééé after");
}

#[test]
fn forms_of_a_difficult_secret() {
    let secret = "a\"b\\c\nd/e\u{e9}\u{1f511}'f g";
    let json = |it: &str| serde_json::to_string(it).expect("text is JSON");
    let once = json(secret);
    let thrice = json(&json(&once));
    let bare = |it: &str| it.trim_matches(['"', '\\']).to_owned();
    for form in [
        secret.to_owned(),
        bare(&once),
        bare(&json(&once)),
        bare(&thrice),
        r#"a\u0022b\u005Cc\u000ad\/e\u00E9\ud83d\uDD11\u0027f\u0020g"#.to_owned(),
        r#"a\\u0022b\\u005Cc\\u000ad\\/e\\u00E9\\ud83d\\uDD11\\u0027f g"#.to_owned(),
        // As a literal of JavaScript.
        r"a\x22b\\c\nd/e\xe9🔑\'f g".to_owned(),
        "a%22b%5Cc%0Ad%2Fe%C3%A9%F0%9F%94%91%27f%20g".to_owned(),
        "a%22b%5cc%0ad%2fe%c3%a9%f0%9f%94%91'f+g".to_owned(),
    ] {
        assert_eq!(masked(&[secret], &format!("<{form}>")), "<#>", "{form}");
    }
}

#[test]
fn encoded_forms_go_with_what_was_encoded_with_them() {
    let secret = "pa55word?~\u{fffd}";
    for before in ["", "u", "us", "user:"] {
        let all = format!("{before}{secret}:more");
        let standard = STANDARD.encode(&all);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&all);
        let digits = hex::encode(&all);
        for form in [&standard, &url, &digits, &digits.to_uppercase()] {
            assert_eq!(masked(&[secret], &format!("Basic {form}, or")), "Basic #, or", "{all}");
        }
    }
}

#[test]
fn what_was_cut_off_and_what_is_within_another() {
    let secret = "0123456789abcdefghijk";
    assert_eq!(masked(&[secret], "of 0123456… (12 more bytes)"), "of #… (12 more bytes)");
    assert_eq!(masked(&[secret], "of 01234… and"), "of 01234… and");
    assert_eq!(masked(&[secret], "01234567 is less"), "01234567 is less");
    assert_eq!(masked(&[secret], "it said …efghijk and"), "it said …# and");
    assert_eq!(masked(&[secret], "it said …ghijk and"), "it said …ghijk and");
    assert_eq!(masked(&[secret], "it said …6789abc… and"), "it said …#… and");
    assert_eq!(masked(&[secret], "done… 6789abc"), "done… 6789abc");
    assert_eq!(masked(&["to\u{e9}-ken\"1234"], r"…00e9-ken\u00221234 b"), "…# b");
    assert_eq!(masked(&["abcdefg\u{e9}-ken"], r"a abcdefg\u00… b"), "a #… b");
    let secrets = ["bcdefg", "abcdefghi", "fghijkl"];
    assert_eq!(masked(&secrets, "x abcdefghijkl y abcdefg z"), "x # y a# z");
    assert_eq!(masked(&["short", ""], "short is too short"), "short is too short");
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END KEY-----\n";
    assert_eq!(masked(&[key], "  MIIEvQIBADANBgkqhkiG\n  more"), "  #\n  more");
}

#[test]
fn more_forms_than_bits() {
    let secrets: Vec<String> = (0..100).map(|it| format!("secret-number-{it:03}")).collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    for secret in &secrets {
        assert_eq!(masked(&secrets, &format!("<{secret}>")), "<#>");
    }
}

proptest! {
    #[test]
    fn a_secret_is_found_in_any_form_and_nothing_else_is_touched(
        secret in r#"(\\|"|\n|é|🔑|[a-z%/ ]){8,30}"#,
        before in "[A-M ]{0,5}",
        after in "[N-Z ]{0,5}",
        depth in 0usize..4,
    ) {
        let mut form = secret.clone();
        for _ in 0..depth {
            form = serde_json::to_string(&form).expect("text is JSON");
        }
        let text = format!("{before}<{form}>{after}");
        let left = masked(&[&secret], &text);
        prop_assert!(left.starts_with(&format!("{before}<")), "{}", left);
        prop_assert!(left.ends_with(&format!(">{after}")), "{}", left);
        let middle = &left[before.len() + 1..left.len() - after.len() - 1];
        prop_assert!(middle.chars().all(|it| matches!(it, '#' | '"' | '\\')), "{}", left);
    }

    #[test]
    fn a_secret_that_was_cut_is_found(
        secret in r#"(\\|"|\n|é|🔑|[a-z0-9%/ ]){14,40}"#,
        (front, back) in (0usize..200, 0usize..200),
        depth in 0usize..3,
    ) {
        let mut form = secret.clone();
        for _ in 0..depth {
            form = serde_json::to_string(&form).expect("text is JSON");
        }
        // As texts are cut: between characters of what there is to read.
        let text = format!("<<<<<<<< {form} >>>>>>>>");
        let mut ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        ends.drain(..8);
        let (a, b) = (front % ends.len(), back % ends.len());
        let (from, to) = (ends[a.min(b)], ends[a.max(b)]);
        let left = format!("…{}…", &text[from..to]);
        let left = masked(&[&secret], &left);
        // No more than the shortest texts that count, escaped as often as the whole was.
        for piece in left.split(['#', '…', '<', '>']) {
            let mut piece = piece.trim();
            piece = piece.trim_matches(['"', '\\']);
            prop_assert!(piece.chars().count() < SHORTEST * 7 + MOST_DEBRIS, "{:?} of {:?}", piece, left);
            if depth == 0 {
                let is_left = piece.len() >= SHORTEST * 4 && secret.contains(piece);
                prop_assert!(!is_left, "{:?} of {:?}", piece, left);
            }
        }
    }

    #[test]
    fn nothing_is_passed_over(
        secrets in proptest::collection::vec(r#"(\\|"|a|b|%|é|\n|\x00){6,9}"#, 1..4),
        pieces in proptest::collection::vec((0usize..12, r#"(\\{1,12}|\\x5c|\\u00e9|%5[cC]|"|a|b|A|6|\n){0,8}"#), 0..5),
    ) {
        let mut text = String::new();
        for (which, noise) in &pieces {
            text.push_str(noise);
            let Some(secret) = secrets.get(which / 4) else { continue };
            let json = serde_json::to_string(secret).expect("text is JSON");
            text.push_str(&match which % 4 {
                0 => secret.clone(),
                1 => json,
                2 => STANDARD.encode(format!("{noise}{secret}")),
                _ => hex::encode(secret),
            });
        }
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let forms = SecretForms::of(secrets.iter().copied());
        // Every form at every place, and what that finds made one.
        let searched = Searched::new(&text);
        let mut naive = Vec::new();
        for at in 0..text.len() {
            let counted = text[..].bytes().skip(at).take_while(|it| *it == b'\\').count();
            prop_assert_eq!(searched.backslashes(at), counted);
            for form in &forms.forms {
                let is_text = matches!(form, Form::Text(_));
                if !text.is_char_boundary(at) && is_text { continue }
                let found = form.at(&searched, at, &mut Work { left: usize::MAX });
                if let Some(range) = found.expect("there is no limit") {
                    add(&mut naive, range);
                }
            }
        }
        prop_assert_eq!(forms.find(&text), naive);
    }

    #[test]
    fn ranges_are_whole_characters_whatever_the_text(
        secrets in proptest::collection::vec("\\PC{0,12}", 0..5),
        text in "(?s).{0,200}",
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        for range in SecretForms::of(secrets.into_iter()).find(&text) {
            prop_assert!(text.get(range).is_some());
        }
    }
}
