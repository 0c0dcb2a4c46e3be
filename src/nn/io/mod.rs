//! Networks in files: a trained model, and the named tensors that it and a checkpoint are made of.

pub(crate) mod model_file;
pub(crate) mod tensor_file;
