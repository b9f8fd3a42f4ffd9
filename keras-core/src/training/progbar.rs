//! [`Progbar`]: Keras's progress bar and its line of metrics.

use super::logs::metric_text;
use crate::output::{Live, Output};
use std::time::Instant;

/// Characters between the brackets of a bar.
const WIDTH: usize = 30;
/// Seconds between two drawings.
const INTERVAL: f64 = 0.05;

/// What has been seen of an epoch so far, and how it reads.
#[derive(Debug, Clone, Default)]
struct Meter {
    target: Option<usize>,
    stateful: Vec<String>,
    current: usize,
    /// Name, weighted sum, weight.
    values: Vec<(String, f64, f64)>,
}

impl Meter {
    /// Adds what was measured on the steps since the last call; stateful metrics replace their value instead.
    fn add(&mut self, current: usize, values: &[(&str, f64)]) {
        let steps = current as f64 - self.current as f64;
        for &(name, value) in values {
            let stateful = self.stateful.iter().any(|stateful| stateful == name);
            let (sum, weight) = if stateful { (value, 1.0) } else { (value * steps, steps) };
            match self.values.iter_mut().find(|(known, ..)| known == name) {
                Some((_, old_sum, old_weight)) if stateful => (*old_sum, *old_weight) = (sum, weight),
                Some((_, old_sum, old_weight)) => {
                    *old_sum += sum;
                    *old_weight += weight;
                }
                None => self.values.push((name.to_owned(), sum, weight)),
            }
        }
        self.current = current;
    }

    fn is_complete(&self) -> bool {
        self.target.is_some_and(|target| self.current >= target)
    }

    fn averages(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|(name, sum, weight)| (name.as_str(), sum / weight.max(1.0)))
    }

    /// The line of `verbose` 1: bar, time, metrics.
    fn line(&self, seconds: f64) -> String {
        let per_step = if self.current == 0 { 0.0 } else { seconds / self.current as f64 };
        let mut text = self.bar();
        match self.target {
            Some(target) if self.current < target => {
                text.extend([" - ETA: ", &eta(per_step * (target - self.current) as f64)]);
            }
            _ => text.extend([&format!(" - {seconds:.0}s "), &*step_time(per_step)]),
        }
        for (name, value) in self.averages() {
            text.extend([" - ", name, ": ", &metric_text(value, value.abs() > 1e-3)]);
        }
        text
    }

    /// The line of `verbose` 2: time, metrics.
    fn summary(&self, seconds: f64) -> String {
        let mut text = format!(" - {seconds:.0}s");
        for (name, value) in self.averages() {
            // Keras compares without the absolute value here.
            text.extend([" - ", name, ": ", &metric_text(value, value > 1e-3)]);
        }
        text
    }

    fn bar(&self) -> String {
        let Some(target) = self.target else {
            return format!("{:7}/Unknown", self.current);
        };
        let digits = target.to_string().len();
        let filled =
            if target == 0 { WIDTH } else { (WIDTH as f64 * (self.current as f64 / target as f64)) as usize };
        // Beyond the target it grows as Keras's does, but not without end.
        let filled = filled.min(100 * WIDTH);
        let head = if self.current < target { ">" } else { "=" };
        let arrow = if filled > 0 { "=".repeat(filled - 1) + head } else { String::new() };
        format!("{:digits$}/{target} [{arrow}{}]", self.current, ".".repeat(WIDTH.saturating_sub(filled)))
    }
}

/// `1:02:03` above an hour, `2:03` above a minute, else `3s`; cut to whole seconds.
fn eta(seconds: f64) -> String {
    let whole = seconds as u64;
    if seconds > 3600.0 {
        format!("{}:{:02}:{:02}", whole / 3600, whole % 3600 / 60, whole % 60)
    } else if seconds > 60.0 {
        format!("{}:{:02}", whole / 60, whole % 60)
    } else {
        format!("{whole}s")
    }
}

fn step_time(seconds: f64) -> String {
    if seconds >= 1.0 {
        format!("{seconds:.0}s/step")
    } else if seconds >= 1e-3 {
        format!("{:.0}ms/step", seconds * 1e3)
    } else {
        format!("{:.0}us/step", seconds * 1e6)
    }
}

/// A progress bar over a number of steps or samples, in Keras's look.
///
/// ```text
///   128/60000 [..............................] - ETA: 3:07 - loss: 2.2977 - accuracy: 0.1406
/// 60000/60000 [==============================] - 7s 122us/step - loss: 0.2557 - accuracy: 0.9253
/// ```
///
/// With `verbose` 1 it is drawn on a terminal, at most every 0.05 s, and its last state stays as a line; where the [`Output`] is
/// no terminal nothing is written. With `verbose` 2 one line is written when the target is reached:
/// ` - 7s - loss: 0.2557 - accuracy: 0.9253`. Numbers have 4 decimals, or are `1.2345e-04` up to 1e-3.
///
/// ```
/// use keras_core::training::{Output, Progbar};
/// use std::sync::{Arc, Mutex};
/// let text = Arc::new(Mutex::new(Vec::new()));
/// let mut bar = Progbar::new(Some(64), 2).output(Output::Writer(text.clone()));
/// bar.update(32, &[("loss", 0.75)]);
/// bar.update(64, &[("loss", 0.25)]);
/// assert_eq!(*text.lock().unwrap(), b" - 0s - loss: 0.5000\n");
/// ```
///
/// Source: `keras.utils.Progbar` of Keras 2.3.1.
pub struct Progbar {
    meter: Meter,
    verbose: u8,
    start: Instant,
    drawn: Option<f64>,
    screen: Screen,
}

impl Progbar {
    /// A bar over `target` steps (`None`: unknown) that starts its clock now; `verbose` is 0, 1 or 2.
    pub fn new(target: Option<usize>, verbose: u8) -> Self {
        Self {
            meter: Meter { target, ..Meter::default() },
            verbose,
            start: Instant::now(),
            drawn: None,
            screen: Screen::new(Output::current()),
        }
    }

    /// Metrics that are shown as they come; all others are averaged over the steps. Default: none.
    pub fn stateful_metrics<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.meter.stateful = names.into_iter().map(Into::into).collect();
        self
    }

    /// Where the bar goes. Default: [`Output::current`].
    pub fn output(mut self, output: Output) -> Self {
        self.screen = Screen::new(output);
        self
    }

    /// Steps done so far (all, not since the last call), and the metrics of the steps since the last call.
    pub fn update(&mut self, current: usize, values: &[(&str, f64)]) {
        self.meter.add(current, values);
        // A line that nobody sees need not be written ten thousand times.
        if self.verbose == 1 && !self.screen.is_terminal {
            return;
        }
        if let Some((line, ends)) = self.due(self.start.elapsed().as_secs_f64()) {
            if self.verbose == 1 {
                self.screen.draw(line);
                if ends {
                    self.screen.keep();
                }
            } else {
                self.screen.output.line(&line);
            }
        }
    }

    /// The line to show at this time, if any, and whether the next one goes below it.
    fn due(&mut self, seconds: f64) -> Option<(String, bool)> {
        let (known, complete) = (self.meter.target.is_some(), self.meter.is_complete());
        match self.verbose {
            1 if known && !complete && self.drawn.is_some_and(|drawn| seconds - drawn < INTERVAL) => None,
            1 => {
                self.drawn = Some(seconds);
                Some((self.meter.line(seconds), complete))
            }
            2 if complete || !known => Some((self.meter.summary(seconds), true)),
            _ => None,
        }
    }

    /// `steps` more done, with their metrics.
    pub fn add(&mut self, steps: usize, values: &[(&str, f64)]) {
        self.update(self.meter.current.saturating_add(steps), values);
    }

    /// Leaves the bar on screen as it is, with the cursor below it; what dropping it does too.
    pub fn finish(&mut self) {
        self.screen.keep();
    }
}

/// The line under change at the bottom of a terminal; nothing where the output is none.
struct Screen {
    output: Output,
    is_terminal: bool,
    live: Option<Live>,
    text: Option<String>,
}

impl Screen {
    fn new(output: Output) -> Self {
        let is_terminal = output.is_terminal();
        Self { output, is_terminal, live: None, text: None }
    }

    fn draw(&mut self, text: String) {
        if self.live.is_none() {
            self.live = Live::open(&self.output);
        }
        if let Some(live) = &self.live {
            live.show(&text);
        }
        self.text = Some(text);
    }

    fn keep(&mut self) {
        if let Some(live) = self.live.take() {
            live.clear();
        }
        if let Some(text) = self.text.take() {
            self.output.line(&text);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.keep();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::captured;
    use serde_json::Value;

    fn float(value: &Value) -> f64 {
        value.as_str().unwrap().parse().unwrap()
    }

    /// Every line of the Progbar of Keras 2.3.1 at a given time; see the script beside the fixture.
    #[test]
    fn lines_are_those_of_keras() {
        let text = include_str!("../../tests/fixtures/callbacks/callbacks.json");
        let fixture: Value = serde_json::from_str(text).unwrap();
        let (mut lines, mut skipped) = (0, 0);
        for case in fixture["bars"].as_array().unwrap() {
            let target = case["target"].as_u64().map(|target| target as usize);
            let stateful = case["stateful"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            let mut bar = Progbar::new(target, case["verbose"].as_u64().unwrap() as u8)
                .stateful_metrics(stateful)
                .output(Output::Silent);
            for step in case["steps"].as_array().unwrap() {
                let values: Vec<_> = step["values"].as_array().unwrap().iter().collect();
                let values: Vec<_> = values.iter().map(|v| (v[0].as_str().unwrap(), float(&v[1]))).collect();
                bar.meter.add(step["current"].as_u64().unwrap() as usize, &values);
                let seen = bar.due(float(&step["seconds"]));
                let keras = step["line"].as_str();
                assert_eq!(seen.as_ref().map(|(line, _)| line.as_str()), keras, "{}: {step}", case["name"]);
                // The line feed after a complete bar.
                assert_eq!(seen.is_some_and(|(_, ends)| ends), step["ends"].as_bool().unwrap(), "{step}");
                *if keras.is_some() { &mut lines } else { &mut skipped } += 1;
            }
        }
        assert!(lines > 100 && skipped > 10, "{lines} {skipped}");
    }

    #[test]
    fn a_bar_is_quiet_where_the_output_is_no_terminal() {
        let ((), text) = captured(|| {
            let mut bar = Progbar::new(Some(2), 1);
            bar.add(1, &[("loss", 1.0)]);
            bar.add(1, &[("loss", 2.0)]);
            bar.finish();
        });
        assert_eq!(text, "");
    }
}
