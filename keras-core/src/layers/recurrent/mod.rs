//! Recurrent layers: [`RNN`] runs any cell over time; [`SimpleRNN`], [`GRU`], [`LSTM`], [`ConvLSTM2D`] and the
//! `CuDNN` layers bring theirs.

mod arguments;
mod cell;
mod conv_lstm;
mod cudnn;
mod gru;
mod kind;
mod layer;
mod lstm;
mod options;
mod rnn;
mod sequence;
mod simple_rnn;
mod stacked;

pub use cell::{Cell, CellLayer};
pub use conv_lstm::{ConvLSTM2D, ConvLSTM2DCell};
pub use cudnn::{CuDNNGRU, CuDNNLSTM};
pub use gru::{GRU, GRUCell, Gru};
pub use layer::Recurrent;
pub use lstm::{LSTM, LSTMCell, Lstm};
pub use rnn::RNN;
pub use simple_rnn::{SimpleRNN, SimpleRNNCell};
pub use stacked::StackedRNNCells;
