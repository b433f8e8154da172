//! JSON and tensors as docs/wire.md has them: what a server needs and no layer.

use std::iter::Peekable;
use std::str::Chars;

/// Why a call has no result.
pub enum No {
    /// It is declined.
    Unsupported(String),
    /// It is refused.
    Wrong(String),
}

pub fn wrong<T>(why: impl Into<String>) -> Result<T, No> {
    Err(No::Wrong(why.into()))
}

/// A JSON value; the fields of an object in their order.
#[derive(Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn get(&self, name: &str) -> &Json {
        self.fields().iter().find(|field| field.0 == name).map_or(&Json::Null, |field| &field.1)
    }
    pub fn fields(&self) -> &[(String, Json)] {
        if let Json::Object(fields) = self { fields } else { &[] }
    }
    pub fn items(&self) -> &[Json] {
        if let Json::List(items) = self { items } else { &[] }
    }
    pub fn text(&self) -> &str {
        if let Json::Text(text) = self { text } else { "" }
    }
    /// A number of elements, a layer's number, a place.
    pub fn size(&self, what: &str) -> Result<usize, No> {
        match self {
            Json::Number(n) if *n >= 0.0 && n.fract() == 0.0 => Ok(*n as usize),
            _ => wrong(format!("{what} must be a whole number that is not negative")),
        }
    }

    pub fn read(line: &str) -> Json {
        value(&mut line.chars().peekable())
    }
}

type Rest<'a> = Peekable<Chars<'a>>;

/// Whether the next character is this one, which is taken then.
fn take(rest: &mut Rest, c: char) -> bool {
    while rest.next_if(|c| c.is_whitespace()).is_some() {}
    rest.next_if_eq(&c).is_some()
}

fn value(rest: &mut Rest) -> Json {
    if take(rest, '{') {
        let mut fields = Vec::new();
        while !take(rest, '}') {
            assert!(take(rest, '"'));
            let name = text(rest);
            assert!(take(rest, ':'));
            fields.push((name, value(rest)));
            take(rest, ',');
        }
        Json::Object(fields)
    } else if take(rest, '[') {
        let mut items = Vec::new();
        while !take(rest, ']') {
            items.push(value(rest));
            take(rest, ',');
        }
        Json::List(items)
    } else if take(rest, '"') {
        Json::Text(text(rest))
    } else {
        let mut word = String::new();
        while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
            word.push(c);
        }
        match word.as_str() {
            "null" => Json::Null,
            "true" | "false" => Json::Bool(word == "true"),
            _ => Json::Number(word.parse().expect("JSON")),
        }
    }
}

/// The rest of a text, up to its closing quote.
fn text(rest: &mut Rest) -> String {
    let mut out = String::new();
    loop {
        match rest.next().expect("JSON") {
            '"' => return out,
            '\\' => out.push(match rest.next().expect("JSON") {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = rest.take(4).collect();
                    // Half of a surrogate pair: no name of the protocol has one.
                    char::from_u32(u32::from_str_radix(&digits, 16).expect("JSON")).unwrap_or('?')
                }
                c => c,
            }),
            c => out.push(c),
        }
    }
}

pub fn quoted(text: &str) -> String {
    let escaped: String = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => " ".into(),
        c => c.into(),
    }).collect();
    format!("\"{escaped}\"")
}

/// Elements are f64, whatever the dtype: sums of float32 are wider so, and rounded once, by `written`.
#[derive(Clone)]
pub struct Tensor {
    pub dtype: String,
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn bytes_of(base64: &str) -> Vec<u8> {
    let (mut out, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for letter in base64.bytes().filter(|c| *c != b'=') {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
    }
    out
}

fn base64_of(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let three = (0..3).fold(0u32, |all, k| all << 8 | u32::from(*chunk.get(k).unwrap_or(&0)));
        for k in 0..4 {
            let letter = LETTERS[(three >> (18 - 6 * k) & 63) as usize] as char;
            out.push(if k <= chunk.len() { letter } else { '=' });
        }
    }
    out
}

impl Tensor {
    pub fn read(json: &Json, dtype: &str) -> Result<Tensor, No> {
        let given = json.get("dtype").text();
        if given != dtype {
            return wrong(format!("a tensor is {given}: expected {dtype}"));
        }
        let shape = json.get("shape").items().iter().map(|n| n.size("a size")).collect::<Result<Vec<_>, _>>()?;
        let bytes = bytes_of(json.get("data").text());
        let data: Vec<f64> = if dtype == "float32" {
            bytes.chunks(4).map(|c| f64::from(f32::from_le_bytes(c.try_into().unwrap()))).collect()
        } else {
            bytes.chunks(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect()
        };
        Ok(Tensor { dtype: dtype.into(), shape, data })
    }

    pub fn written(&self) -> String {
        let bytes: Vec<u8> = if self.dtype == "float32" {
            self.data.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect()
        } else {
            self.data.iter().flat_map(|x| x.to_le_bytes()).collect()
        };
        let (dtype, shape, data) = (&self.dtype, &self.shape, base64_of(&bytes));
        format!(r#"{{"dtype":"{dtype}","shape":{shape:?},"data":"{data}"}}"#)
    }

    /// A tensor of other elements, in the same dtype.
    pub fn like(&self, shape: &[usize], data: Vec<f64>) -> Tensor {
        Tensor { dtype: self.dtype.clone(), shape: shape.to_vec(), data }
    }
}
