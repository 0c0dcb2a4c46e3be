//! Networks and what they are made of, held to their naive twins, to finite differences, to recorded bits and to
//! other programs' figures. No program is started here.

#[path = "../common"]
mod common {
    pub(crate) mod golden;
    pub(crate) mod slopes;
}

#[cfg(feature = "program")]
mod every_layer;
#[cfg(feature = "program")]
mod every_machine;
#[cfg(feature = "program")]
mod freezing;
mod golden;
mod golden_traces;
mod gradients;
#[cfg(feature = "program")]
mod naive_network;
mod networks;
mod recipes;
mod same_bits;
mod subnormals;
