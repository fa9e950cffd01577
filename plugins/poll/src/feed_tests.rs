//! Feeds as they are found, as they are broken, and as enemies write them.

use super::*;

const RSS: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://example.org/rss.dtd">
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"
     xmlns:dc="http://purl.org/dc/elements/1.1/">
 <channel>
  <title> Neuigkeiten </title><link>https://news.example/</link><description>d</description>
  <item>
   <title>Zwei &amp; mehr</title><link>https://news.example/2</link><guid>tag:2</guid>
   <pubDate>Tue, 05 Mar 2024 10:00:00 +0100</pubDate><description>kurz</description>
   <content:encoded><![CDATA[<p>lang > kurz</p>]]></content:encoded>
   <dc:creator>Ada</dc:creator><category>a</category><category>b</category>
  </item>
  <item><title>Eins</title><link>https://news.example/1</link></item>
  <item><title>Namenlos</title></item>
 </channel>
</rss>"#;

const ATOM: &str = r#"<feed xmlns="http://www.w3.org/2005/Atom">
 <title>Blog</title><id>urn:blog</id><updated>2024-03-02T00:00:00Z</updated>
 <link rel="self" href="https://blog.example/feed"/><link href="https://blog.example/"/>
 <entry><id>urn:new</id><title type="html">&lt;b&gt;New&lt;/b&gt;</title>
  <updated>2024-03-02T01:00:00.5+01:00</updated><summary>s</summary>
  <link rel="enclosure" href="https://blog.example/new.mp3"/>
  <link rel="alternate" href="https://blog.example/new"/>
  <author><name>Ada</name></author><author><name>Grace</name></author></entry>
 <entry><id>urn:old</id><title>Old</title><published>2024-03-01T00:00:00Z</published>
  <updated>2024-03-03T00:00:00Z</updated><content type="xhtml">
   <div xmlns="http://www.w3.org/1999/xhtml"><p>hi</p></div></content></entry>
</feed>"#;

#[test]
fn rss_is_read_oldest_first() {
    let found = read(RSS).unwrap().items;
    let ids: Vec<&str> = found.iter().map(|it| it.id.as_str()).collect();
    // One has no date, so the order of the feed counts.
    assert_eq!(ids[1..], ["https://news.example/1", "tag:2"]);
    assert_eq!(ids[0].len(), 32, "{}", ids[0]);
    let entry = json!({
        "id": "tag:2", "title": "Zwei & mehr", "link": "https://news.example/2",
        "published": "2024-03-05T09:00:00Z", "updated": "2024-03-05T09:00:00Z", "summary": "kurz",
        "content": "<p>lang > kurz</p>", "author": "Ada", "categories": ["a", "b"],
        "feed": { "title": "Neuigkeiten", "link": "https://news.example/" },
    });
    assert_eq!(found[2].payload, entry);
    assert_eq!(read(RSS).unwrap().items, found, "ids are the same each time");
}

#[test]
fn atom_is_read_by_time() {
    let found = read(ATOM).unwrap().items;
    assert_eq!([&found[0].id, &found[1].id], ["urn:old", "urn:new"]);
    let new = &found[1].payload;
    assert_eq!(new["link"], "https://blog.example/new");
    assert_eq!(new["author"], "Ada, Grace");
    assert_eq!(new["updated"], "2024-03-02T00:00:00Z");
    assert_eq!(new["title"], "<b>New</b>");
    assert_eq!(new["feed"], json!({ "title": "Blog", "link": "https://blog.example/" }));
    assert!(found[0].payload["content"].as_str().unwrap().contains("<p>hi</p>"));
}

#[test]
fn other_kinds_are_read() {
    let rdf = r#"<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
        xmlns="http://purl.org/rss/1.0/"><channel rdf:about="x"><title>t</title><link>l</link>
        <description>d</description></channel><item rdf:about="i"><title>a</title>
        <link>https://a.example/</link></item></rdf:RDF>"#;
    assert_eq!(read(rdf).unwrap().items.len(), 1);
    let empty = r#"<rss version="2.0"><channel><title>t</title></channel></rss>"#;
    assert!(read(empty).unwrap().items.is_empty());
}

#[test]
fn hostile_feeds_are_refused() {
    let mut laughs = String::from("<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY a0 \"ha\">");
    for level in 1..50 {
        laughs.push_str(&format!(
            "<!ENTITY a{level} \"{}\">",
            format!("&a{};", level - 1).repeat(10)
        ));
    }
    laughs.push_str("]><rss version=\"2.0\"><channel><title>&a49;</title></channel></rss>");
    assert!(read(&laughs).unwrap_err().contains("entities"));
    let external = "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><rss/>";
    assert!(read(external).unwrap_err().contains("entities"));
    // Without a declaration, an entity is nothing.
    let unknown = r#"<rss version="2.0"><channel><item><title>&x;</title></item></channel></rss>"#;
    if let Ok(found) = read(unknown) {
        assert!(!found.items[0].payload.to_string().contains("passwd"));
    }

    for deep in [
        format!("<rss version=\"2.0\"><channel>{}", "<item>".repeat(100_000)),
        format!("<feed>{}{}</feed>", "<a b='>'>".repeat(50_000), "</a>".repeat(50_000)),
    ] {
        assert!(read(&deep).unwrap_err().contains("nested"));
    }
    let many = "<item><guid>x</guid></item>".repeat(MOST_ITEMS + 1);
    let many = format!("<rss version=\"2.0\"><channel>{many}</channel></rss>");
    assert!(read(&many).unwrap_err().contains("entries"));
    let long = "x".repeat(3_000_000);
    let long = format!(
        "<rss version=\"2.0\"><channel><item><description>{long}</description></item></channel></rss>"
    );
    let found = read(&long).unwrap().items;
    assert_eq!(found[0].payload["summary"].as_str().unwrap().len(), LONGEST_TEXT);
}

#[test]
fn what_is_no_feed_is_said() {
    for text in [
        "",
        "<",
        "<a",
        "<a b=\"",
        "<!",
        "<!--",
        "<?",
        "</a>",
        "<a/>",
        "hello",
        "<rss",
        "<feed><entry>",
        "<html><body>x</body></html>",
        "<rss version=\"2.0\"><channel><item></channel></rss>",
        "<![CDATA[",
        "<?xml version=\"1.0\"",
        "{\"version\": \"x\"}",
    ] {
        if let Err(error) = read(text) {
            assert!(error.starts_with("it is"), "{text}: {error}");
        } else {
            assert!(text.contains("feed") || text.contains("rss"), "{text}");
        }
    }
}

proptest::proptest! {
    /// Whatever a server sends, it is read or refused.
    #[test]
    fn anything_is_taken(text in "(<[a-z/!?\\[]{0,4}|[a-z >&;'\"]{0,5}|<item>|</item>|]]>|-->|\\?>){0,30}") {
        let _ = read(&text);
        let _ = read(&format!("<rss version=\"2.0\"><channel>{text}</channel></rss>"));
    }
}
