//! A page as a tree, read as strictly as XML: every element is closed in its order.

#![allow(dead_code)]

/// Elements that have no end.
const VOID: [&str; 5] = ["br", "hr", "img", "link", "meta"];

#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    Element(Element),
    Text(String),
}

/// The page's `html` element; panics where the page is not well formed.
pub(crate) fn parse(page: &str) -> Element {
    let rest = page.strip_prefix("<!DOCTYPE html>").expect("a doctype").trim_start();
    let mut open = vec![Element::new("document")];
    let mut rest = rest;
    while !rest.is_empty() {
        let inside = &open.last().unwrap().name;
        if inside == "style" && !rest.starts_with("</style>") {
            let end = rest.find("</style>").expect("the end of a style");
            assert!(!rest[..end].contains('<'));
            rest = &rest[end..];
        }
        let Some(text) = rest.find('<').filter(|&at| at > 0) else {
            if !rest.starts_with('<') {
                assert!(rest.trim().is_empty(), "text behind the page: {rest:?}");
                break;
            }
            let end = rest.find('>').expect("the end of a tag");
            let tag = &rest[1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                let closed = open.pop().unwrap();
                assert_eq!(closed.name, name, "closed out of turn");
                open.last_mut().expect("an open element").children.push(Node::Element(closed));
                continue;
            }
            let is_closed = tag.ends_with('/');
            let element = Element::of(tag.trim_end_matches('/'));
            match is_closed || VOID.contains(&element.name.as_str()) {
                true => open.last_mut().unwrap().children.push(Node::Element(element)),
                false => open.push(element),
            }
            continue;
        };
        open.last_mut().unwrap().children.push(Node::Text(unescaped(&rest[..text])));
        rest = &rest[text..];
    }
    let document = open.pop().unwrap();
    assert!(open.is_empty(), "{} is not closed", document.name);
    let mut elements = document.children.into_iter().filter_map(|node| match node {
        Node::Element(element) => Some(element),
        Node::Text(text) => {
            assert!(text.trim().is_empty(), "text outside of the page: {text:?}");
            None
        }
    });
    let html = elements.next().expect("an element");
    assert!(html.name == "html" && elements.next().is_none());
    html
}

/// Panics at an entity that is not closed or not known.
fn unescaped(text: &str) -> String {
    let mut pieces = text.split('&');
    let mut plain = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (entity, after) =
            piece.split_once(';').unwrap_or_else(|| panic!("a bare & in {text:?}"));
        plain.push(match entity {
            "lt" | "#60" => '<',
            "gt" | "#62" => '>',
            "amp" | "#38" => '&',
            "quot" | "#34" => '"',
            "apos" | "#39" => '\'',
            _ => panic!("unknown entity {entity:?}"),
        });
        plain += after;
    }
    plain
}

impl Element {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), attributes: Vec::new(), children: Vec::new() }
    }

    /// Of the text between the angles of its tag.
    fn of(tag: &str) -> Self {
        let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        let is_name = |c: char| c.is_ascii_alphanumeric();
        assert!(!name.is_empty() && name.chars().all(is_name), "a tag {tag:?}");
        let mut element = Self::new(name);
        while !rest.trim().is_empty() {
            let (key, value) = rest.trim_start().split_once("=\"").expect("a quoted value");
            let (value, after) = value.split_once('"').expect("the end of a value");
            assert!(
                key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
                "{key:?} in {tag:?}"
            );
            element.attributes.push((key.to_owned(), unescaped(value)));
            rest = after;
        }
        element
    }

    /// All elements of this name inside, in the order of the page.
    pub(crate) fn all(&self, name: &str) -> Vec<&Element> {
        let mut found = Vec::new();
        self.walk(&mut |element| {
            if element.name == name {
                found.push(element);
            }
        });
        found
    }

    /// Visits every element inside.
    pub(crate) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Element)) {
        for child in &self.children {
            if let Node::Element(element) = child {
                visit(element);
                element.walk(visit);
            }
        }
    }

    /// The element with this id.
    #[track_caller]
    pub(crate) fn id(&self, id: &str) -> &Element {
        self.find(id).unwrap_or_else(|| panic!("no element {id}"))
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Element> {
        let mut found = None;
        self.walk(&mut |element| {
            if element.attribute("id") == Some(id) {
                found = Some(element);
            }
        });
        found
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Its text, with that of the elements inside; a line break for each `br`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for child in &self.children {
            match child {
                Node::Text(piece) => text += piece,
                Node::Element(element) if element.name == "br" => text.push('\n'),
                Node::Element(element) => text += &element.text(),
            }
        }
        text
    }

    /// The cells of the first table inside, row by row.
    pub(crate) fn table(&self) -> Vec<Vec<String>> {
        let tables = self.all("table");
        let rows = tables.first().expect("a table").all("tr");
        let cells = |row: &&Element| {
            let mut cells = Vec::new();
            row.walk(&mut |cell| {
                if ["th", "td"].contains(&cell.name.as_str()) {
                    cells.push(cell.text());
                }
            });
            cells
        };
        rows.iter().map(cells).collect()
    }

    /// The terms and figures of the tiles.
    pub(crate) fn tiles(&self) -> Vec<(String, String)> {
        let text = |name: &str| self.all(name).iter().map(|e| e.text()).collect::<Vec<_>>();
        text("dt").into_iter().zip(text("dd")).collect()
    }
}
