//! Every kernel beside its naive twin: sizes at every edge, outputs full of NaN, guarded memory, every instruction set,
//! one thread to three.

mod activation;
mod augment;
mod common;
mod conv;
mod dropout;
mod gather;
mod gemm;
mod histogram;
mod loss;
mod map;
mod moments;
mod nearest;
mod norm;
mod online_sgd;
mod pool;
mod pooled;
mod precision;
mod precision_conv;
mod products;
mod recurrent;
mod refusals;
mod row_norm;
mod sgemm;
mod subnormals;
mod sums;
mod update;
mod vectors;
