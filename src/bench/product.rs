//! Matrix products.

use super::case::{Case, Combine, Pieces, Work, noise};
use super::shapes::{Product, Role};
use crate::nn::Buffer;
use std::ops::Range;
use threadcount_kernels::gemm::{Epilogue, Write, gemm};
use threadcount_kernels::{Mat, MatMut, Team, naive};

impl Product {
    /// The kernel's name in tables.
    pub fn kernel(&self) -> &'static str {
        match self.role {
            Role::Plain => "gemm",
            Role::Forward => "dense-forward",
            Role::WeightGradient => "dense-dw",
            Role::InputGradient => "dense-dx",
        }
    }

    /// Its size in tables: `m x n x k`, or the layer's inputs, outputs and batch.
    pub fn shape(&self) -> String {
        let Self { role, m, n, k } = *self;
        let (inputs, outputs, batch) = match role {
            Role::Plain => return format!("{m}x{n}x{k}"),
            Role::Forward => (k, n, m),
            Role::WeightGradient => (m, n, k),
            Role::InputGradient => (n, k, m),
        };
        format!("{inputs}x{outputs}, batch {batch}")
    }

    /// Floating-point operations.
    pub fn flops(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// The product as a case.
    pub fn case(&self) -> Box<dyn Case> {
        let Self { m, n, k, .. } = *self;
        Box::new(ProductCase { product: *self, a: noise(1, m * k), b: noise(2, k * n) })
    }
}

/// A product with its operands, in the layout that the layer has them in.
struct ProductCase {
    product: Product,
    a: Buffer,
    b: Buffer,
}

impl ProductCase {
    fn a(&self) -> Mat<'_> {
        let Product { role, m, k, .. } = self.product;
        match role {
            Role::WeightGradient => Mat::new(&self.a, k, m).t(),
            _ => Mat::new(&self.a, m, k),
        }
    }

    fn b(&self) -> Mat<'_> {
        let Product { role, n, k, .. } = self.product;
        match role {
            Role::InputGradient => Mat::new(&self.b, n, k).t(),
            _ => Mat::new(&self.b, k, n),
        }
    }
}

impl Case for ProductCase {
    fn work(&self) -> Work {
        Work::Flops(self.product.flops())
    }

    fn inputs(&self) -> usize {
        self.a.len() + self.b.len()
    }

    fn outputs(&self) -> usize {
        self.product.m * self.product.n
    }

    fn run(&self, team: &Team, out: &mut [f32]) {
        let c = MatMut::new(out, self.product.m, self.product.n);
        gemm(team, 1.0, self.a(), self.b(), Write::Set, c, Epilogue::None);
    }

    fn pieces(&self) -> Pieces {
        Pieces { count: self.product.m, combine: Combine::Beside }
    }

    fn twin(&self, rows: Range<usize>, out: &mut [f32]) {
        let c = MatMut::new(out, rows.len(), self.product.n);
        let a = self.a().block(rows, 0..self.product.k);
        naive::gemm::gemm(1.0, a, self.b(), Write::Set, c, Epilogue::None);
    }

    fn product(&self) -> Option<(Mat<'_>, Mat<'_>)> {
        Some((self.a(), self.b()))
    }
}
