//! Products of every kind: random ones with all strides, factors, epilogues and cuts, at any thread
//! count and on made-up machines; data that rounds as badly as it can; what BLAS does not read.

use crate::common::product::{
    BY_COLUMN, BY_ROW, Data, Finish, LAYOUTS, Layout, Operands, Product, SCATTERED,
};
use crate::common::{
    Dice, bits, count_of, made_up_machines, on_every_isa, same_bits_at_any_thread_count,
};
use threadcount_kernels::gemm::{Blocking, Epilogue, ThreadCosts, Write, gemm};
use threadcount_kernels::{Activation, Isa, Mat, MatMut, Pool, Team, naive};

/// With an old C.
const ADD: Write = Write::Add { beta: 1.0 };

impl Dice {
    /// A size: mostly of a few tiles, sometimes of many.
    fn size(&mut self, most: usize) -> usize {
        let most = self.one_of(&[4, 17, 70, 70, most]);
        1 + self.below(most)
    }

    fn layout(&mut self) -> Layout {
        let layout = self.one_of(&LAYOUTS);
        Layout { gap: layout.gap + self.one_of(&[0, 0, 1, 7]), ..layout }
    }

    fn product(&mut self) -> Product {
        let (m, n) = (self.size(300), self.size(300));
        let most = self.one_of(&[3, 40, 300, 1200, 9000]).min((1 << 21) / (m * n));
        let k = self.below(most + 1);
        let activation = self.one_of(&[
            Activation::Linear,
            Activation::Relu,
            Activation::LeakyRelu { slope: 0.1 },
            Activation::Sigmoid,
            Activation::Tanh,
        ]);
        let cut = (self.one_of(&[5, 8, 32, 200]), 1 + self.below(3), 1 << self.below(14));
        Product {
            m,
            n,
            k,
            a: self.layout(),
            b: self.layout(),
            c: self.layout(),
            alpha: self.one_of(&[1.0, 1.0, 1.0, 0.3, -1.7, 0.0]),
            write: self.one_of(&[
                Write::Set,
                Write::Set,
                Write::Add { beta: 1.0 },
                Write::Add { beta: -0.6 },
                Write::Add { beta: 0.0 },
            ]),
            finish: self.one_of(&[
                Finish::None,
                Finish::None,
                Finish::Bias(activation),
                Finish::Derivative(activation),
            ]),
            data: self.one_of(&[
                Data::Noise,
                Data::Noise,
                Data::NearOne,
                Data::LargestFirst,
                Data::Positive,
            ]),
            cut: self.one_of(&[None, Some(cut)]),
        }
    }
}

/// Checks that many random products: on every instruction set, in teams of 1 to 8 threads, on made-up
/// machines, the same bits in all of them, and an error within the contract.
fn random_products(count: usize) {
    let (mut dice, machines) = (Dice(0x9E37_79B9_7F4A_7C15), made_up_machines());
    // The worst errors of each kind of data: of one block of K, of several, of several slices.
    let mut worst = [[0.0_f64; 3]; 4];
    for start in (0..count).step_by(50) {
        let batch: Vec<Product> = (start..count.min(start + 50)).map(|_| dice.product()).collect();
        let operands: Vec<Operands> = batch.iter().map(Operands::of).collect();
        for isa in Isa::detected() {
            let compute = |team: &Team, machine: &Blocking| -> Vec<Vec<f32>> {
                let jobs = batch.iter().zip(&operands);
                jobs.map(|(product, operands)| product.compute(team, machine, operands)).collect()
            };
            let alone = compute(&Team::solo(isa), Blocking::of_machine());
            for ((product, operands), c) in batch.iter().zip(&operands).zip(&alone) {
                let error = product.worst_error(isa, operands, c);
                let (kc, slice_blocks, _) = product.cut.unwrap_or((256, 16, 0));
                let cut = match product.k.div_ceil(kc) {
                    0..2 => 0,
                    blocks if blocks <= slice_blocks => 1,
                    _ => 2,
                };
                let worst = &mut worst[product.data as usize][cut];
                *worst = worst.max(error);
                if product.data == Data::Noise {
                    assert!(error <= 8.0, "{isa}: {product:?}: {error} eps");
                }
            }
            for threads in 1..=8 {
                let machine = dice.one_of(&machines);
                let pool = Pool::new(isa, threads).unwrap().with_blocking(machine);
                let together = pool.enter(|team| compute(team, &machine));
                for (product, (alone, together)) in batch.iter().zip(alone.iter().zip(&together)) {
                    let same = bits(alone) == bits(together);
                    assert!(same, "{isa}, {threads} threads: {product:?} on {machine:?}");
                }
            }
        }
    }
    println!("worst errors in eps, of one block, several, several slices of K:");
    for (data, worst) in ["noise", "near one", "largest first", "positive"].iter().zip(worst) {
        println!("{data:>14}: {:7.2} {:7.2} {:7.2}", worst[0], worst[1], worst[2]);
    }
}

#[test]
fn some_random_products() {
    random_products(200);
}

#[test]
#[ignore = "takes minutes: 20,000 products, or as many as RANDOM_PRODUCTS says"]
fn many_random_products() {
    random_products(count_of("RANDOM_PRODUCTS", 20_000));
}

/// Partial sums are made band by band of C, each cut into tasks by its own width.
#[test]
fn bands_narrower_than_all_of_c() {
    for isa in Isa::detected() {
        for threads in 2..=4 {
            let pool = Pool::new(isa, threads).unwrap();
            pool.enter(|team| {
                for n in [65, 130, 300] {
                    for buffer in [1, 20 * 3 * 16, 20 * 3 * 40, 20 * 3 * 100] {
                        for a in [BY_ROW, BY_COLUMN] {
                            let cut = Some((8, 1, buffer));
                            let product = Product { a, cut, ..Product::plain(20, n, 20) };
                            let operands = Operands::of(&product);
                            let costs = Some(ThreadCosts::NONE);
                            let machine =
                                Blocking { thread_costs: costs, ..*Blocking::of_machine() };
                            let c = product.compute(team, &machine, &operands);
                            product.worst_error(isa, &operands, &c);
                        }
                    }
                }
            });
        }
    }
}

/// Products that were seen to panic, at the size that they were.
#[test]
#[ignore = "takes a minute: products of 30 to 40 thousand million multiply-adds"]
fn large_products_with_bands() {
    for (threads, m, n, k) in [
        (4, 2810, 3000, 5000),
        (2, 500, 16_790, 4097),
        (3, 1000, 8400, 4097),
        (3, 1400, 6000, 4097),
    ] {
        let (a, b) = (vec![1.0; m * k], vec![1.0; k * n]);
        let isa = Isa::detected().last().unwrap();
        let costs = Some(ThreadCosts::NEAR);
        let machine = Blocking { thread_costs: costs, ..*Blocking::of_machine() };
        Pool::new(isa, threads).unwrap().with_blocking(machine).enter(|team| {
            for a in [Mat::new(&a, m, k), Mat::new(&a, k, m).t()] {
                let mut c = vec![f32::NAN; m * n];
                let target = MatMut::new(&mut c, m, n);
                gemm(team, 1.0, a, Mat::new(&b, k, n), Write::Set, target, Epilogue::None);
                assert!(c.iter().all(|&c| c == k as f32));
            }
        });
    }
}

/// Alpha multiplies the complete sum, whatever the path, and then `beta C` is added by one
/// multiply-add.
#[test]
fn alpha_scales_the_complete_sum() {
    let mut products = Vec::new();
    for (m, n, k) in [(64, 100, 512), (34, 31, 3911), (5, 193, 2045), (20, 33, 9000), (30, 3, 700)]
    {
        for a in [BY_ROW, BY_COLUMN] {
            for c in [BY_ROW, BY_COLUMN, SCATTERED, LAYOUTS[6]] {
                products.push(Product { a, c, ..Product::plain(m, n, k) });
            }
        }
    }
    for isa in Isa::detected() {
        for product in &products {
            let operands = Operands::of(&Product { write: ADD, ..*product });
            let team = &Team::solo(isa);
            let sums = product.compute(team, Blocking::of_machine(), &operands);
            for (alpha, beta) in
                [(0.3, None), (1.0, Some(1.0)), (1.0, Some(-0.7)), (0.3, Some(0.9))]
            {
                let write = beta.map_or(Write::Set, |beta| Write::Add { beta });
                let scaled = Product { alpha, write, ..*product };
                let c = scaled.compute(team, Blocking::of_machine(), &operands);
                let old = &operands.data[2];
                for (i, ((&c, &sum), &old)) in c.iter().zip(&sums).zip(old).enumerate() {
                    let expected = match beta {
                        None => alpha * sum,
                        // The crate `wide` multiplies and adds separately where there is no FMA.
                        Some(beta) if isa == Isa::Portable && !cfg!(target_feature = "fma") => {
                            old * beta + alpha * sum
                        }
                        Some(beta) => old.mul_add(beta, alpha * sum),
                    };
                    let same = c.to_bits() == expected.to_bits() || (c.is_nan() && sum.is_nan());
                    assert!(same, "{isa}: {scaled:?} at {i}: {c:e}, not {expected:e}");
                }
            }
        }
    }
}

/// Products that were seen to change bits with the threads, or with what had been computed before.
#[test]
fn same_bits_whatever_the_factors_and_their_order() {
    for (m, n, k) in [(64, 784, 512), (34, 331, 3911), (130, 193, 2045)] {
        for layout in [BY_ROW, BY_COLUMN] {
            let product = Product { a: layout, write: ADD, ..Product::plain(m, n, k) };
            let Operands { data: [a, b, old], .. } = &Operands::of(&product);
            same_bits_at_any_thread_count(|team| {
                let factors =
                    [(0.3, Write::Set), (1.0, Write::Set), (0.3, Write::Add { beta: 0.5 })];
                let mut all = vec![Vec::new(); 3];
                // Each thread count takes another order, so plans are remembered in another order too.
                for i in (0..3).map(|i| (i + team.threads()) % 3) {
                    let (alpha, write) = factors[i];
                    all[i] = old.clone();
                    let (a, b) = (layout.view(a, m, k), Mat::new(b, k, n));
                    let c = MatMut::new(&mut all[i], m, n);
                    gemm(team, alpha, a, b, write, c, Epilogue::None);
                }
                all.concat()
            });
        }
    }
}

/// Data that rounds as badly as it can keeps the bound that is promised, on every path at every K; and
/// some errors come close to the bound.
#[test]
fn adversarial_data_keeps_the_bound() {
    on_every_isa(|team| {
        let mut nearest = 0.0_f64;
        for k in [1, 2, 15, 16, 17, 128, 256, 257, 1023, 4096, 4097, 65_536] {
            let long = k > 10_000;
            for (m, n) in if long { [(2, 5), (1, 9)] } else { [(15, 34), (6, 3)] } {
                for (a, c) in [
                    (BY_ROW, BY_ROW),
                    (BY_COLUMN, BY_ROW),
                    (BY_ROW, BY_COLUMN),
                    (BY_ROW, SCATTERED),
                ] {
                    for data in Data::BAD {
                        let mut product = Product { a, c, data, ..Product::plain(m, n, k) };
                        let operands = Operands::of(&Product { write: ADD, ..product });
                        let factors = [(1.0, Write::Set), (0.7, Write::Add { beta: 0.3 })];
                        for (alpha, write) in factors {
                            (product.alpha, product.write) = (alpha, write);
                            let c = product.compute(team, Blocking::of_machine(), &operands);
                            let error = product.worst_error(team.isa(), &operands, &c);
                            nearest = nearest.max(error / (product.roundings() / 2.0));
                        }
                    }
                }
            }
        }
        println!("{}: up to {nearest:.2} of the bound", team.isa());
        assert!(nearest > 0.8, "{}: no error beyond {nearest:.2} of the bound", team.isa());
    });
}

/// As in BLAS: what is multiplied with zero is not read. In every path, and in the twin.
#[test]
fn factors_of_zero_stop_nan() {
    let nan = |data: &mut Vec<f32>| data.fill(f32::NAN);
    for threads in [1, 3] {
        for isa in Isa::detected() {
            let costs = Some(ThreadCosts::NONE);
            let machine = Blocking { thread_costs: costs, ..*Blocking::of_machine() };
            Pool::new(isa, threads).unwrap().enter(|team| {
                for (m, n, k) in
                    [(20, 40, 0), (20, 40, 9), (20, 40, 300), (30, 3, 70), (5, 40, 4200)]
                {
                    for (c, cut) in [BY_ROW, BY_COLUMN, SCATTERED]
                        .into_iter()
                        .flat_map(|c| [(c, None), (c, Some((8, 2, 1)))])
                    {
                        let plain = Product { c, cut, ..Product::plain(m, n, k) };
                        for alpha in [0.0, 1.0, 0.5] {
                            for write in
                                [Write::Set, Write::Add { beta: 0.0 }, Write::Add { beta: 0.5 }]
                            {
                                let product = Product { alpha, write, ..plain };
                                let mut operands = Operands::of(&product);
                                if alpha == 0.0 {
                                    operands.data[..2].iter_mut().for_each(nan);
                                }
                                if product.beta() == 0.0 {
                                    nan(&mut operands.data[2]);
                                }
                                let c = product.compute(team, &machine, &operands);
                                product.worst_error(isa, &operands, &c);
                                let [a, b, old] = &operands.data;
                                let mut twin = old.clone();
                                let target = product.c.view_mut(&mut twin, m, n);
                                let (a, b) = (Mat::new(a, m, k), Mat::new(b, k, n));
                                naive::gemm::gemm(alpha, a, b, write, target, Epilogue::None);
                                product.worst_error(isa, &operands, &twin);
                            }
                        }
                        // Without products there is nothing for alpha to multiply.
                        if k == 0 {
                            let product = Product { alpha: f32::NAN, ..plain };
                            let c = product.compute(team, &machine, &Operands::of(&product));
                            let c = product.c.view(&c, m, n);
                            assert!((0..m).all(|i| (0..n).all(|j| c.at(i, j) == 0.0)));
                        }
                    }
                }
            });
        }
    }
}
