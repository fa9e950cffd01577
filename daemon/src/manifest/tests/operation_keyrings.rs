//! Keyrings that operations declare, and what else has their names.

use super::check_part;

fn operation(slug: &str, keyring: &str) -> String {
    format!("  - {{name: O, slug: {slug}, function: f, keyrings: [{keyring}]}}\n")
}

#[test]
fn they_are_the_snap_in_s_and_optional() {
    let a = operation("a", "{name: k, display_name: K, types: [snap_in_secret]}");
    // Types that mean the same; another one of its own.
    let b =
        operation("b", "{name: k, types: [devrev-flow-secret]}, {name: l, types: [devrev-pat]}");
    let manifest = check_part(&format!("operations:\n{a}{b}"), "").expect("no errors");
    let keyring = manifest.keyring("k").expect("it is there");
    assert_eq!(keyring.display_name.as_deref(), Some("K"));
    assert!(keyring.optional);
    assert_eq!(keyring.operations, ["a", "b"]);
    assert_eq!(manifest.keyring("l").expect("it is there").operations, ["b"]);
    // What an operation cannot do without is still known.
    assert!(!manifest.operations[0].keyrings[0].optional);
}

#[test]
fn one_that_is_declared_outside_stays_as_it_is() {
    let outside = "keyrings: {organization: [{name: k, types: [snap_in_secret]}]}\n";
    let a = operation("a", "{name: k, types: [snap_in_secret], optional: true}");
    let manifest = check_part(&format!("{outside}operations:\n{a}"), "").expect("no errors");
    assert_eq!(manifest.keyrings.len(), 1);
    assert!(!manifest.keyrings[0].optional && manifest.keyrings[0].operations.is_empty());
}

#[test]
fn one_name_is_one_secret() {
    let outside = "keyrings: {organization: [{name: k, types: [devrev-pat]}]}\n";
    let a = operation("a", "{name: k, types: [snap_in_secret, slack]}");
    let clash = "7:55: error: operations[0].keyrings[0].name: the keyring `k` is of \
                 `snap_in_secret` or `slack` here and of `devrev-pat` in line 5, column 34 \
                 (keyrings.organization[0].name): one secret is set for both, and no type is \
                 right for both";
    assert!(check_part(&format!("{outside}operations:\n{a}"), clash).is_none());

    let b = operation("b", "{name: k, types: [devrev-pat]}");
    let clash = "7:55: error: operations[1].keyrings[0].name: the keyring `k` is of \
                 `devrev-pat` here and of `snap_in_secret` or `slack` in line 6, column 55 \
                 (operations[0].keyrings[0].name): one secret is set for both, and no type is \
                 right for both";
    assert!(check_part(&format!("operations:\n{a}{b}"), clash).is_none());

    for (outside, path) in [
        ("keyrings: {user: [{name: k, types: [snap_in_secret]}]}\n", "5:26|keyrings.user[0]"),
        (
            "developer_keyrings: [{name: k, types: [snap_in_secret]}]\n",
            "5:29|developer_keyrings[0]",
        ),
    ] {
        let (place, path) = path.split_once('|').expect("a place");
        let (line, column) = place.split_once(':').expect("a place");
        let taken = format!(
            "7:55: error: operations[0].keyrings[0].name: the keyring `k` is already declared in \
             line {line}, column {column} ({path}.name)"
        );
        assert!(check_part(&format!("{outside}operations:\n{b}"), &taken).is_none());
    }

    // A type that is right for both is what it may be of.
    let b = operation("b", "{name: k, types: [devrev-github, slack]}");
    let manifest = check_part(&format!("operations:\n{a}{b}"), "").expect("no errors");
    assert_eq!(manifest.keyring("k").expect("it is there").types, ["slack"]);

    let named = operation("a", "{name: k/l, types: [snap_in_secret]}");
    let slash = "6:55: error: operations[0].keyrings[0].name: `k/l` holds a slash, which names of \
                 this kind may not";
    assert!(check_part(&format!("operations:\n{named}"), slash).is_none());
}
