//! A server of docs/wire.md: Linear, ReLU and Conv1d, float32 and float64, on its standard input and output.

mod wire;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use wire::{quoted, wrong, Json, No, Tensor};

const LAYERS: [&str; 5] = ["Linear", "functional.linear", "ReLU", "Conv1d", "functional.conv1d"];

/// A layer: what the user wrote, and its parameters, named, in torch's order.
struct Layer {
    name: String,
    arguments: Json,
    dtype: String,
    parameters: Vec<(&'static str, Tensor)>,
    filled: bool, // false: the parameters have shapes and no values
}

impl Layer {
    fn build(request: &Json) -> Result<Layer, No> {
        let (name, dtype) = (request.get("layer").text(), request.get("dtype").text());
        let known: &[&str] = match name {
            "ReLU" => &["inplace"],
            "functional.linear" => &[],
            "Linear" => &["in_features", "out_features", "bias"],
            "functional.conv1d" => &["stride", "padding", "dilation", "groups"],
            "Conv1d" => &["in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode"],
            _ => return Err(No::Unsupported(name.into())),
        };
        let arguments = request.get("arguments").clone();
        known_only(&arguments, known)?;
        let mut layer = Layer { name: name.into(), arguments, dtype: dtype.into(), parameters: vec![], filled: false };
        if name.ends_with("onv1d") {
            layer.window()?;
        }
        let weight = match name {
            "Linear" => vec![layer.arguments.get("out_features").size("out_features")?, layer.arguments.get("in_features").size("in_features")?],
            "Conv1d" => {
                let (c, o, groups) = (layer.int("in_channels", 1, 1)?, layer.int("out_channels", 1, 1)?, layer.int("groups", 1, 1)?);
                if c % groups != 0 || o % groups != 0 {
                    return wrong("in_channels and out_channels must be divisible by groups");
                }
                vec![o, c / groups, layer.int("kernel_size", 1, 1)?]
            }
            _ => vec![],
        };
        if !weight.is_empty() {
            let (bias, empty) = (vec![weight[0]], |shape| Tensor { dtype: dtype.into(), shape, data: vec![] });
            layer.parameters.push(("weight", empty(weight)));
            if *layer.arguments.get("bias") != Json::Bool(false) {
                layer.parameters.push(("bias", empty(bias)));
            }
        }
        if layer.parameters.is_empty() || !request.get("state").fields().is_empty() {
            layer.load(request.get("state"))?;
        }
        Ok(layer)
    }

    fn load(&mut self, state: &Json) -> Result<(), No> {
        if state.fields().len() != self.parameters.len() {
            return wrong("the state has other names than the layer");
        }
        for (name, parameter) in &mut self.parameters {
            let given = Tensor::read(state.get(name), &self.dtype)?;
            if given.shape != parameter.shape {
                return wrong(format!("{name} must have shape {:?}", parameter.shape));
            }
            *parameter = given;
        }
        self.filled = true;
        Ok(())
    }

    /// An argument that is one integer: `3` or `[3]`.
    fn int(&self, name: &str, otherwise: usize, least: usize) -> Result<usize, No> {
        let n = match self.arguments.get(name) {
            Json::Null => otherwise,
            Json::List(items) if items.len() == 1 => items[0].size(name)?,
            other => other.size(name)?,
        };
        if n < least { wrong(format!("{name} must be at least {least}")) } else { Ok(n) }
    }

    /// Stride, padding, dilation, groups.
    fn window(&self) -> Result<[usize; 4], No> {
        for (name, have, lack) in [("padding_mode", "zeros", "reflect replicate circular"), ("padding", "valid", "same")] {
            match self.arguments.get(name) {
                Json::Text(text) if lack.split(' ').any(|one| one == text) => return Err(No::Unsupported(format!("{name}='{text}'"))),
                Json::Text(text) if text != have => return wrong(format!("no such {name}")),
                _ => {}
            }
        }
        let valid = matches!(self.arguments.get("padding"), Json::Text(_));
        let padding = if valid { 0 } else { self.int("padding", 0, 0)? };
        Ok([self.int("stride", 1, 1)?, padding, self.int("dilation", 1, 1)?, self.int("groups", 1, 1)?])
    }

    fn call(&self, inputs: &[Option<Tensor>], bug: &str) -> Result<Tensor, No> {
        let Some(Some(x)) = inputs.first() else { return wrong("input is missing") };
        let own = |place: usize| self.parameters.get(place).map(|named| &named.1);
        let given = |place: usize| inputs.get(place).and_then(Option::as_ref);
        if self.name == "ReLU" {
            // NaN is not less than 0: it stays.
            return Ok(x.like(&x.shape, x.data.iter().map(|v| if *v < 0.0 { 0.0 } else { *v }).collect()));
        }
        let (w, b) = if self.name.starts_with("functional") { (given(1), given(2)) } else { (own(0), own(1)) };
        let Some(w) = w else { return wrong("weight is missing") };
        let add = |channel: usize| match b {
            Some(b) if bug != "bias-dropped" => b.data[channel.min(b.data.len() - 1)],
            _ => 0.0,
        };
        if self.name.ends_with("inear") { self.linear(x, w, b, add) } else { self.conv1d(x, w, b, add) }
    }

    /// Calls refuse what is wrong before they find that there are no values.
    fn values(&self) -> Result<(), No> {
        if self.filled { Ok(()) } else { Err(No::Unsupported("initialisation".into())) }
    }

    fn linear(&self, x: &Tensor, w: &Tensor, b: Option<&Tensor>, add: impl Fn(usize) -> f64) -> Result<Tensor, No> {
        let (out, k) = match w.shape[..] {
            [k] => (&w.shape[..0], k),
            [_, k] => (&w.shape[..1], k),
            _ => return wrong("weight must have one or two dimensions"),
        };
        let Some((last, outer)) = x.shape.split_last() else { return wrong("input must have a dimension") };
        if *last != k {
            return wrong(format!("the last dimension of input must be {k}, not {last}"));
        }
        if b.is_some_and(|b| !b.shape.is_empty() && b.shape != out) {
            return wrong("bias must have out_features elements");
        }
        self.values()?;
        let n: usize = out.iter().product();
        let mut y = Vec::new();
        for i in 0..outer.iter().product() {
            for j in 0..n {
                y.push((0..k).fold(add(j), |sum, l| sum + x.data[i * k + l] * w.data[j * k + l]));
            }
        }
        Ok(x.like(&[outer, out].concat(), y))
    }

    fn conv1d(&self, x: &Tensor, w: &Tensor, b: Option<&Tensor>, add: impl Fn(usize) -> f64) -> Result<Tensor, No> {
        let [stride, padding, dilation, groups] = self.window()?;
        let [o, c, k] = w.shape[..] else { return wrong("weight must have three dimensions") };
        if k == 0 {
            return wrong("kernel_size must be at least 1");
        }
        let (batch, channels, length) = match x.shape[..] {
            [channels, length] => (1, channels, length),
            [batch, channels, length] => (batch, channels, length),
            _ => return wrong("input must have two or three dimensions"),
        };
        if channels != c * groups || o % groups != 0 {
            return wrong(format!("input must have {} channels, and groups divide out_channels", c * groups));
        }
        if b.is_some_and(|b| b.shape != [o]) {
            return wrong("bias must have out_channels elements");
        }
        let Some(reach) = (length + 2 * padding).checked_sub(dilation * (k - 1) + 1) else {
            return wrong("the kernel is larger than the padded input");
        };
        self.values()?;
        let steps = reach / stride + 1;
        let mut y = Vec::new();
        for (n, out) in (0..batch).flat_map(|n| (0..o).map(move |out| (n, out))) {
            let first = out / (o / groups) * c;
            for step in 0..steps {
                let mut sum = add(out);
                for (channel, tap) in (0..c).flat_map(|channel| (0..k).map(move |tap| (channel, tap))) {
                    let at = step * stride + tap * dilation; // in the padded input
                    if at >= padding && at - padding < length {
                        let place = (n * channels + first + channel) * length + at - padding;
                        sum += x.data[place] * w.data[(out * c + channel) * k + tap];
                    }
                }
                y.push(sum);
            }
        }
        let shape = [batch, o, steps];
        Ok(x.like(&shape[3 - x.shape.len()..], y))
    }
}

/// An argument that nobody here knows is one that we do not have.
fn known_only(arguments: &Json, known: &[&str]) -> Result<(), No> {
    for (name, value) in arguments.fields().iter().filter(|field| !known.contains(&field.0.as_str())) {
        let shown = match value {
            Json::Null => "None".into(),
            Json::Bool(true) => "True".into(),
            Json::Bool(false) => "False".into(),
            Json::Number(n) => n.to_string(),
            Json::Text(text) => format!("'{text}'"),
            _ => "(...)".into(),
        };
        return Err(No::Unsupported(format!("{name}={shown}")));
    }
    Ok(())
}

struct Server {
    layers: HashMap<usize, Layer>,
    last: usize,
    bug: String, // a mistake made on purpose, for the test of this example
}

impl Server {
    fn answer(&mut self, request: &Json) -> Result<String, No> {
        for number in request.get("drop").items() {
            self.layers.remove(&number.size("drop")?);
        }
        let op = request.get("op").text();
        if op == "hello" {
            return Ok(format!(r#"{{"protocol":1,"name":"rust-example","layers":{LAYERS:?},"dtypes":["float32","float64"]}}"#));
        }
        if op == "build" {
            self.last += 1;
            self.layers.insert(self.last, Layer::build(request)?);
            return Ok(format!(r#"{{"layer":{},"has":["state","load","train"]}}"#, self.last));
        }
        let number = request.get("layer").size("layer")?;
        let Some(layer) = self.layers.get_mut(&number) else { return wrong("no such layer") };
        match op {
            "call" => {
                known_only(request.get("keywords"), &[])?;
                let mut inputs: Vec<Option<Tensor>> = vec![];
                for x in request.get("inputs").items() {
                    let input = match x.get("same") {
                        Json::Null if *x == Json::Null => None,
                        Json::Null => Some(Tensor::read(x, &layer.dtype)?),
                        same => inputs[same.size("same")?].clone(),
                    };
                    inputs.push(input);
                }
                let output = layer.call(&inputs, &self.bug)?.written();
                let inplace = *layer.arguments.get("inplace") == Json::Bool(true);
                let written = if inplace { format!(r#"{{"0":{output}}}"#) } else { "{}".into() };
                Ok(format!(r#"{{"outputs":[{output}],"written":{written}}}"#))
            }
            "state" => {
                layer.values()?;
                let state: Vec<String> = layer.parameters.iter().map(|(name, value)| format!("\"{name}\":{}", value.written())).collect();
                Ok(format!(r#"{{"state":{{{}}}}}"#, state.join(",")))
            }
            "load" => layer.load(request.get("state")).map(|()| "{}".into()),
            "train" => Ok("{}".into()), // no layer here has modes
            _ => Err(No::Unsupported(op.into())),
        }
    }
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let bug = if words.len() == 3 && words[1] == "--bug" { words[2].clone() } else { String::new() };
    let mut server = Server { layers: HashMap::new(), last: 0, bug };
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let request = Json::read(&line?);
        let result = match server.answer(&request) {
            Ok(ok) => format!("\"ok\":{ok}"),
            Err(No::Unsupported(why)) => format!("\"unsupported\":{}", quoted(&why)),
            Err(No::Wrong(why)) => format!("\"error\":{}", quoted(&why)),
        };
        let Json::Number(id) = request.get("id") else { continue };
        writeln!(out, "{{\"id\":{id},{result}}}")?;
        out.flush()?;
    }
    Ok(())
}
