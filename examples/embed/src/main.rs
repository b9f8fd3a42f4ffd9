//! A service that predicts: it loads a model once, and answers from many threads.
//!
//! `cargo run --release -- model.h5 [127.0.0.1:8000]`, then
//! `curl --data '[[0.1, 0.2, 0.3]]' http://127.0.0.1:8000/` answers with the outputs of each sample, as JSON.

use keras::prelude::*;
use keras::saving::load_model;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

type Anything<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Bytes of a request, at most.
const LIMIT: u64 = 1 << 24;

fn main() -> Anything<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a model file, received none")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".into());

    let model = load_model(path)?;
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let threads = thread::available_parallelism().map_or(8, |count| count.get().max(8));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    // Reads samples as JSON, answers with model.predict(samples). Who hangs up early misses the answer.
                    let _ = answer(&model, &stream);
                }
            });
        }
    });
    Ok(())
}

/// One request, one answer: the outputs, or what was wrong.
fn answer(model: &Model, stream: &TcpStream) -> Anything<()> {
    let (status, body) = match body(stream).and_then(|body| predict(model, &body)) {
        Ok(outputs) => ("200 OK", outputs),
        Err(error) => ("400 Bad Request", json!({"error": error.to_string()})),
    };
    let text = body.to_string();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}", text.len());
    let mut stream = stream;
    Ok(stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{text}").as_bytes())?)
}

/// The JSON of a request.
fn body(stream: &TcpStream) -> Anything<Value> {
    let mut reader = BufReader::new(stream.take(LIMIT));
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 0 && line.trim() != "" {
        let header = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        length = header.map_or(Ok(length), |(_, value)| value.trim().parse())?;
        line.clear();
    }
    let mut text = Vec::new();
    reader.take(length).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// A list of samples, each nested as the model's input is or flat, to the list of outputs.
fn predict(model: &Model, samples: &Value) -> Anything<Value> {
    let count = samples.as_array().ok_or("expected a list of samples, received something else")?.len();
    let input = model.inputs()?.first().ok_or("the model has no input")?.spec()?;
    let shape: Option<Vec<usize>> =
        std::iter::once(Some(count)).chain(input.shape.into_iter().skip(1)).collect();
    let shape = shape.ok_or("the model takes inputs of any length, which this service does not")?;
    let mut values = Vec::new();
    flatten(samples, &mut values)?;
    let outputs = model.predict(Array::from_vec(&shape, values)?)?;
    let width = (outputs.len() / count.max(1)).max(1);
    Ok(outputs.to_vec::<f32>().chunks(width).map(|row| json!(row)).collect())
}

fn flatten(value: &Value, into: &mut Vec<f32>) -> Anything<()> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| flatten(value, into))?,
        number => into.push(number.as_f64().ok_or("expected numbers, received something else")? as f32),
    }
    Ok(())
}
