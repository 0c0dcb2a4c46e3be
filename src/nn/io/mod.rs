//! Networks in files: a trained model, the named tensors that it and a checkpoint are made of, and weights
//! in the layouts of PyTorch and Keras.

pub(crate) mod foreign;
pub(crate) mod model_file;
pub(crate) mod tensor_file;
pub(crate) mod weights;
