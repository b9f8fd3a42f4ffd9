//! [`LambdaCallback`]: hooks given as closures.

use crate::error::Result;
use crate::training::{Callback, Context, Logs};

type Numbered<'a> = Box<dyn FnMut(&Context, usize, &mut Logs) -> Result<()> + Send + 'a>;
type Plain<'a> = Box<dyn FnMut(&Context, &mut Logs) -> Result<()> + Send + 'a>;

/// A callback made of closures; a hook without one does nothing.
///
/// ```
/// use keras_core::callbacks::LambdaCallback;
/// let mut losses = Vec::new();
/// let callback = LambdaCallback::new().on_epoch_end(|_cx, epoch, logs| {
///     losses.push((epoch, logs.get("loss")));
///     Ok(())
/// });
/// ```
///
/// Source: `keras.callbacks.LambdaCallback` of Keras 2.3.1.
#[derive(Default)]
#[allow(clippy::struct_field_names)]
pub struct LambdaCallback<'a> {
    on_train_begin: Option<Plain<'a>>,
    on_train_end: Option<Plain<'a>>,
    on_epoch_begin: Option<Numbered<'a>>,
    on_epoch_end: Option<Numbered<'a>>,
    on_batch_begin: Option<Numbered<'a>>,
    on_batch_end: Option<Numbered<'a>>,
}

impl LambdaCallback<'_> {
    /// A callback without hooks.
    pub fn new() -> Self {
        Self::default()
    }
}

macro_rules! hooks {
    (plain: $($(#[$plain_doc:meta])* $plain:ident)*; numbered: $($(#[$doc:meta])* $numbered:ident)*) => {
        impl<'a> LambdaCallback<'a> {
            $($(#[$plain_doc])*
            pub fn $plain(mut self, f: impl FnMut(&Context, &mut Logs) -> Result<()> + Send + 'a) -> Self {
                self.$plain = Some(Box::new(f));
                self
            })*
            $($(#[$doc])*
            pub fn $numbered(
                mut self,
                f: impl FnMut(&Context, usize, &mut Logs) -> Result<()> + Send + 'a,
            ) -> Self {
                self.$numbered = Some(Box::new(f));
                self
            })*
        }

        impl Callback for LambdaCallback<'_> {
            $(fn $plain(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
                self.$plain.as_mut().map_or(Ok(()), |hook| hook(cx, logs))
            })*
            $(fn $numbered(&mut self, cx: &Context, number: usize, logs: &mut Logs) -> Result<()> {
                self.$numbered.as_mut().map_or(Ok(()), |hook| hook(cx, number, logs))
            })*
        }
    };
}

hooks! {
    plain:
        /// Runs before the first epoch.
        on_train_begin
        /// Runs after the last epoch.
        on_train_end;
    numbered:
        /// Runs before every epoch, with its number.
        on_epoch_begin
        /// Runs after every epoch, with its number and the values of the epoch.
        on_epoch_end
        /// Runs before every training batch, with its number.
        on_batch_begin
        /// Runs after every training batch, with its number and its values.
        on_batch_end
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::training::{FakeModel, Params};
    use std::sync::Mutex;

    #[test]
    fn each_closure_runs_at_its_own_hook() {
        let (model, params) = (FakeModel::new(0.1), Params::default());
        let cx = Context { model: &model, params: &params };
        let calls = Mutex::new(Vec::new());
        let call = |text: String| {
            calls.lock().unwrap().push(text);
            Ok(())
        };
        let mut callback = LambdaCallback::new()
            .on_train_begin(|_, _| call("train begin".into()))
            .on_train_end(|_, _| call("train end".into()))
            .on_epoch_begin(|_, epoch, _| call(format!("epoch begin {epoch}")))
            .on_epoch_end(|_, epoch, _| call(format!("epoch end {epoch}")))
            .on_batch_begin(|_, batch, _| call(format!("batch begin {batch}")))
            .on_batch_end(|_, batch, logs| call(format!("batch end {batch} {logs}")));
        let logs = &mut Logs::from([("loss", 0.5)]);
        let hooks: &mut dyn Callback = &mut callback;
        hooks.on_train_begin(&cx, logs).unwrap();
        hooks.on_epoch_begin(&cx, 1, logs).unwrap();
        hooks.on_train_batch_begin(&cx, 2, logs).unwrap();
        hooks.on_train_batch_end(&cx, 2, logs).unwrap();
        hooks.on_epoch_end(&cx, 1, logs).unwrap();
        hooks.on_train_end(&cx, logs).unwrap();
        drop(callback);
        let expected = [
            "train begin",
            "epoch begin 1",
            "batch begin 2",
            "batch end 2 loss: 0.5000",
            "epoch end 1",
            "train end",
        ];
        assert_eq!(*calls.lock().unwrap(), expected);
    }

    #[test]
    fn the_error_of_a_closure_is_the_hooks() {
        let (model, params) = (FakeModel::new(0.1), Params::default());
        let cx = Context { model: &model, params: &params };
        let error = Error::value("hook", "luck", "none");
        let mut callback = LambdaCallback::new().on_epoch_end(|_, _, _| Err(error.clone()));
        let hooks: &mut dyn Callback = &mut callback;
        assert_eq!(hooks.on_epoch_end(&cx, 0, &mut Logs::new()), Err(error.clone()));
        assert_eq!(hooks.on_epoch_begin(&cx, 0, &mut Logs::new()), Ok(()));
    }
}
