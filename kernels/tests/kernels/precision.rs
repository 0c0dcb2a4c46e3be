//! Products in every precision, by every kernel of bf16 numbers that this CPU has, on every instruction set:
//! held to the twin's bits, to the bound of their precision, and to f32 where the shape says so.

use crate::common::product::{
    BY_COLUMN, BY_ROW, Data, Finish, LAYOUTS, Operands, Product, SCATTERED,
};
use crate::common::{Dice, bits, count_of, made_up_machines, noise};
use threadcount_kernels::gemm::{Blocking, Epilogue, Write, gemm};
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};
use threadcount_kernels::update::{Decay, Moving, Nesterov, Rule, Sgd, step_by_product};
use threadcount_kernels::{Activation, Isa, Mat, MatMut, Pool, Precision, Team, naive};

const SMALLER: [Precision; 2] = [Precision::F32Split, Precision::Bf16];

/// Every way of computing that precision on this CPU. The twin of tiles has the bits of any instruction set, and is left
/// out where it would be slowest.
fn ways(precision: Precision) -> impl Iterator<Item = (Isa, Arithmetic)> {
    Isa::detected().flat_map(move |isa| {
        let is_fast = isa.fuses_multiply_add() || isa == Isa::best();
        let twin = is_fast.then_some(Bf16Kernel::AmxTwin);
        let kernels = Bf16Kernel::detected(isa).chain(twin);
        kernels.map(move |kernel| (isa, Arithmetic { precision, kernel }))
    })
}

/// A team of one in each of these ways.
fn teams(precision: Precision) -> impl Iterator<Item = Team<'static>> {
    ways(precision).map(|(isa, arithmetic)| Team::solo(isa).with_arithmetic(arithmetic))
}

/// The bits of the hardware's own instructions are those of the twins.
#[cfg(target_arch = "x86_64")]
mod instructions {
    use super::*;
    use core::arch::x86_64::*;
    use std::mem::transmute;

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn dot_pairs(sum: [f32; 16], a: [u32; 16], b: [u32; 16]) -> [f32; 16] {
        // SAFETY: vectors of sixteen words each.
        unsafe {
            let sum = transmute::<[f32; 16], __m512>(sum);
            let [a, b] = [a, b].map(|pairs| transmute::<[u32; 16], __m512bh>(pairs));
            transmute::<__m512, [f32; 16]>(_mm512_dpbf16_ps(sum, a, b))
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn round(x: [f32; 16]) -> [u16; 16] {
        // SAFETY: a vector of sixteen floats, and one of sixteen halves.
        unsafe {
            let x = transmute::<[f32; 16], __m512>(x);
            transmute::<__m256bh, [u16; 16]>(_mm512_cvtneps_pbh(x))
        }
    }

    /// A word of any bits, or of ordinary size, or near the limits.
    fn word(dice: &mut Dice) -> u32 {
        let any = dice.next() as u32;
        match dice.below(4) {
            0 => any,
            // Exponents near that of one, and near the smallest and largest.
            1 => any & 0x87FF_FFFF | 0x3800_0000,
            2 => any & 0x81FF_FFFF,
            _ => any & 0x80FF_FFFF | 0x7F00_0000,
        }
    }

    fn same(one: f32, other: f32) -> bool {
        one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan()
    }

    #[test]
    fn vdpbf16ps_and_the_rounding_are_the_twins() {
        if !is_x86_feature_detected!("avx512bf16") {
            println!("this CPU has no AVX512-BF16");
            return;
        }
        // At the edge of what is subnormal, where it matters when it is asked: f32 would round up.
        let (small, other) = (0x1A00_0000, 0x9980_0000_u32);
        for (b, expected) in [(other, 0x0080_0000), (other | 0x1_0000, 0), (0x9A00_0000, 0)] {
            // SAFETY: the CPU has the features.
            let found = unsafe { dot_pairs([f32::MIN_POSITIVE; 16], [small; 16], [b; 16]) };
            assert_eq!(found[0].to_bits(), expected, "{b:08x}");
            let twin = naive::bf16::dpbf16ps(
                f32::MIN_POSITIVE,
                [0, (small >> 16) as u16],
                [0, (b >> 16) as u16],
            );
            assert_eq!(twin.to_bits(), expected, "{b:08x}");
        }
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let ordinary = [0x3F80_0000, 0xBF80_3F80, 0x0080_8080, 0, 0x8000_0001, 0x7F80_0000];
        for round_of in 0..200_000 {
            let mut words = || -> [u32; 16] {
                std::array::from_fn(|_| match round_of % 3 {
                    0 => dice.one_of(&ordinary),
                    1 => word(&mut dice),
                    _ => dice.next() as u32 & 0xBFFF_BFFF | 0x3000_3000,
                })
            };
            let (sum, a, b) = (words().map(f32::from_bits), words(), words());
            // SAFETY: the CPU has the features.
            let (dots, rounded) = unsafe { (dot_pairs(sum, a, b), round(sum)) };
            for i in 0..16 {
                let pair = |word: u32| [word as u16, (word >> 16) as u16];
                let twin = naive::bf16::dpbf16ps(sum[i], pair(a[i]), pair(b[i]));
                assert!(
                    same(dots[i], twin),
                    "{:e} + {:08x} {:08x}: {:e}, the twin {twin:e}",
                    sum[i],
                    a[i],
                    b[i],
                    dots[i]
                );
                let twin = naive::bf16::round(sum[i]);
                assert_eq!(rounded[i], twin, "{:08x}", sum[i].to_bits());
            }
        }
    }
}

/// A random product that is not computed in f32.
fn random_product(dice: &mut Dice) -> Product {
    let most = dice.one_of(&[20, 40, 70, 130]);
    let (m, n) = (17 + dice.below(most), 17 + dice.below(most));
    let deep = dice.one_of(&[30, 60, 300, 300, 900, 9000]).min((1 << 19) / (m * n));
    let k = 43 + dice.below(deep.max(1));
    let activation =
        dice.one_of(&[Activation::Linear, Activation::Relu, Activation::LeakyRelu { slope: 0.1 }]);
    Product {
        a: dice.one_of(&LAYOUTS),
        b: dice.one_of(&LAYOUTS),
        c: dice.one_of(&LAYOUTS),
        alpha: dice.one_of(&[1.0, 1.0, 0.3, 0.0]),
        write: dice.one_of(&[
            Write::Set,
            Write::Set,
            Write::Add { beta: 1.0 },
            Write::Add { beta: 0.0 },
        ]),
        finish: dice.one_of(&[
            Finish::None,
            Finish::Bias(activation),
            Finish::Derivative(activation),
        ]),
        data: dice.one_of(&[Data::Noise, Data::Noise, Data::NearOne, Data::Positive]),
        cut: dice.one_of(&[
            None,
            Some((8, 2, 700)),
            Some((32, 1, 1 << 12)),
            Some((50, 3, 1 << 20)),
        ]),
        ..Product::plain(m, n, k)
    }
}

/// What the twin computes in the order of that kernel.
fn twin(product: &Product, arithmetic: Arithmetic, operands: &Operands) -> Vec<f32> {
    let Product { m, n, k, alpha, write, .. } = *product;
    let Operands { data: [a, b, old], bias, y } = operands;
    let mut c = old.clone();
    let (a, b) = (product.a.view(a, m, k), product.b.view(b, k, n));
    let epilogue = match product.finish {
        Finish::None => Epilogue::None,
        Finish::Bias(activation) => Epilogue::Bias { bias, activation },
        Finish::Derivative(activation) => {
            Epilogue::Derivative { y: product.c.view(y, m, n), activation }
        }
    };
    let blocking = product.blocking(Blocking::of_machine());
    let target = product.c.view_mut(&mut c, m, n);
    naive::bf16::gemm(arithmetic, &blocking, alpha, a, b, write, target, epilogue);
    c
}

/// Checks that products have the twin's bits, in each precision, by each kernel, on each instruction set, in teams of 1
/// to 3 threads on made-up machines.
fn assert_twins_bits(dice: &mut Dice, products: &[Product]) {
    let machines = made_up_machines();
    let operands: Vec<Operands> = products.iter().map(Operands::of).collect();
    for precision in SMALLER {
        let is_in_it = |p: &Product| precision.of_product(p.m, p.n, p.k) == precision;
        let jobs = || products.iter().zip(&operands).filter(|(product, _)| is_in_it(product));
        // Of vectors and of tiles.
        let twins = [Bf16Kernel::MulAdd, Bf16Kernel::AmxTwin].map(|kernel| -> Vec<Vec<f32>> {
            jobs()
                .map(|(product, of)| twin(product, Arithmetic { precision, kernel }, of))
                .collect()
        });
        for (isa, arithmetic) in ways(precision) {
            let twins = &twins[usize::from(arithmetic.kernel.is_on_tiles())];
            for threads in 1..=3 {
                let machine = dice.one_of(&machines);
                let pool = Pool::new(isa, threads).unwrap().with_blocking(machine);
                let computed: Vec<Vec<f32>> = pool.with_arithmetic(arithmetic).enter(|team| {
                    jobs().map(|(p, operands)| p.compute(team, &machine, operands)).collect()
                });
                for (((product, _), twin), computed) in jobs().zip(twins).zip(&computed) {
                    let same = bits(twin) == bits(computed);
                    let what = format!("{arithmetic:?} on {isa}, {threads} threads: {product:?}");
                    assert!(same, "{what}\n{:?}", first_difference(twin, computed));
                }
            }
        }
    }
}

fn random_products(count: usize) {
    let mut dice = Dice(0xD1B5_4A32_D192_ED03);
    for start in (0..count).step_by(50) {
        let batch: Vec<Product> =
            (start..count.min(start + 50)).map(|_| random_product(&mut dice)).collect();
        assert_twins_bits(&mut dice, &batch);
    }
}

fn first_difference(one: &[f32], other: &[f32]) -> Option<(usize, f32, f32)> {
    let mut both = one.iter().zip(other).enumerate();
    both.find(|(_, (a, b))| a.to_bits() != b.to_bits()).map(|(i, (&a, &b))| (i, a, b))
}

/// The edges of tiles, of squares of tiles, of K's tiles and of its blocks, in every layout, with every store.
#[test]
fn products_at_the_edges_of_tiles_have_the_twins_bits() {
    let mut dice = Dice(0xA076_1D64_78BD_642F);
    let mut products = Vec::new();
    for (i, k) in [16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 257].into_iter().enumerate() {
        for (j, (m, n)) in [(17, 17), (31, 33), (32, 32), (33, 31), (47, 65), (64, 48), (49, 97)]
            .into_iter()
            .enumerate()
        {
            let layout = |more: usize| LAYOUTS[(i + j + more) % LAYOUTS.len()];
            let (a, b, c) = (layout(0), layout(3 * i), layout(5 * j));
            products.push(Product { m, n, k, a, b, c, ..random_product(&mut dice) });
        }
    }
    // Blocks and slices of whole tiles, and what is left over.
    for k in [511, 512, 513, 1025, 8193] {
        products.push(Product { cut: None, ..Product::plain(33, 18, k) });
    }
    assert_twins_bits(&mut dice, &products);
}

/// The last square of tiles may be half a square: what lies behind the packed operands is not read. Each team is a new
/// one, whose buffers end at a page that cannot be touched.
#[test]
fn no_tile_behind_the_last_is_read() {
    for (m, n, k) in [(48, 48, 32), (17, 48, 33), (48, 17, 64), (33, 80, 20)] {
        let product = Product::plain(m, n, k);
        let operands = &Operands::of(&product);
        for (isa, arithmetic) in ways(Precision::Bf16) {
            let team = Team::solo(isa).with_arithmetic(arithmetic);
            let computed = product.compute(&team, Blocking::of_machine(), operands);
            assert_eq!(
                bits(&computed),
                bits(&twin(&product, arithmetic, operands)),
                "{arithmetic:?}"
            );
        }
    }
}

/// Bits on tiles are their own: the order of sums is another.
#[test]
fn tiles_have_bits_of_their_own() {
    let product = Product::plain(40, 40, 100);
    for precision in SMALLER {
        let of = |kernel| {
            let team = Team::solo(Isa::best()).with_arithmetic(Arithmetic { precision, kernel });
            bits(&product.compute(&team, Blocking::of_machine(), &Operands::of(&product)))
        };
        assert_ne!(of(Bf16Kernel::AmxTwin), of(Bf16Kernel::MulAdd), "{precision}");
    }
}

#[test]
fn some_random_products_have_the_twins_bits() {
    random_products(150);
}

#[test]
#[ignore = "takes minutes: 10,000 products, or as many as RANDOM_PRODUCTS says"]
fn many_random_products_have_the_twins_bits() {
    random_products(count_of("RANDOM_PRODUCTS", 10_000));
}

/// The bound of each precision, for data that rounds as badly as it can, and at every depth of sums. Split
/// operands keep f32's own bound.
#[test]
fn every_precision_keeps_its_bound() {
    // Two operands, each rounded by half of a last place of eight bits.
    let of_bf16 = 2.0 * 2.0_f64.powi(-8) + 2.0_f64.powi(-16);
    for (precision, share) in [(Precision::F32Split, 0.0), (Precision::Bf16, of_bf16)] {
        let mut worst = 0.0_f64;
        for k in [16, 42, 43, 44, 85, 257, 800, 4033, 4097, 20_000] {
            let (m, n) = if k > 10_000 { (17, 18) } else { (18, 35) };
            for data in [Data::Noise, Data::NearOne, Data::LargestFirst, Data::Positive] {
                let plain =
                    Product { data, write: Write::Add { beta: 1.0 }, ..Product::plain(m, n, k) };
                for (a, c) in [(BY_ROW, BY_ROW), (BY_COLUMN, BY_COLUMN), (SCATTERED, SCATTERED)] {
                    let mut product = Product { a, c, ..plain };
                    let operands = &Operands::of(&product);
                    for (alpha, write) in [(1.0, Write::Set), (0.7, Write::Add { beta: 0.3 })] {
                        (product.alpha, product.write) = (alpha, write);
                        for team in teams(precision) {
                            let c = product.compute(&team, Blocking::of_machine(), operands);
                            let error = product.worst_error_beyond(share, team.isa(), operands, &c);
                            if data == Data::Noise {
                                worst = worst.max(error);
                            }
                        }
                    }
                }
            }
        }
        println!("{precision}: at worst {worst:.2} eps of the sum of |a b| for random data");
        // For random data the errors cancel. (eps is 2^-23; 2^-8 is 32,768 eps.)
        let most = if precision == Precision::F32Split { 4.0 } else { 33_000.0 };
        assert!(worst <= most, "{precision}: {worst} eps");
    }
}

/// What K a precision begins at, and which sides: by the shape alone, and then the bits are those of f32.
#[test]
fn products_that_do_not_gain_are_f32() {
    let compute = |team: &Team, (m, n, k): (usize, usize, usize)| {
        let product = Product::plain(m, n, k);
        bits(&product.compute(team, Blocking::of_machine(), &Operands::of(&product)))
    };
    for (precision, depth) in [(Precision::F32Split, 42), (Precision::Bf16, 15)] {
        for (shape, is_f32) in [
            ((16, 40, 100), true),
            ((40, 16, 100), true),
            ((40, 40, depth), true),
            ((17, 17, depth + 1), false),
            ((40, 40, 100), false),
        ] {
            let (m, n, k) = shape;
            assert_eq!(precision.of_product(m, n, k) == Precision::F32, is_f32, "{shape:?}");
            for team in teams(precision) {
                let in_f32 = compute(&Team::solo(team.isa()), shape);
                assert_eq!(compute(&team, shape) == in_f32, is_f32, "{precision} {shape:?}");
            }
        }
    }
    assert_eq!(Precision::F32.of_product(100, 100, 100), Precision::F32);
}

/// Infinities and NaN come out as IEEE arithmetic has them, though the parts of a split are multiplied with each
/// other; and the largest floats stay finite in a split.
#[test]
fn infinities_and_nan_are_those_of_ieee_arithmetic() {
    let (m, n, k) = (20, 20, 50);
    for precision in SMALLER {
        for team in teams(precision) {
            let (mut a, mut b) = (vec![0.0; m * k], vec![0.0; k * n]);
            // Column j of B is one number in row 0, or two.
            let numbers = [1.0, -1.0, 0.1, -3.7e5, 0.0, f32::INFINITY, f32::NAN, 1e-30];
            for (j, number) in numbers.into_iter().enumerate() {
                b[j] = number;
            }
            b[n + 1] = 1.0;
            // Row i of A likewise; row 3 has opposite infinities.
            let rows = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::INFINITY, 1.1, 0.0];
            for (i, number) in rows.into_iter().enumerate() {
                a[i * k] = number;
            }
            a[3 * k + 1] = f32::INFINITY;
            let mut c = vec![9.0; m * n];
            let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
            gemm(&team, 1.0, a, b, Write::Set, MatMut::new(&mut c, m, n), Epilogue::None);
            for i in 0..rows.len() {
                for j in 0..n {
                    let expected: f64 =
                        (0..k).map(|p| f64::from(a.at(i, p)) * f64::from(b.at(p, j))).sum();
                    let found = f64::from(c[i * n + j]);
                    let same = found == expected || found.is_nan() && expected.is_nan();
                    let close =
                        expected.is_finite() && (found - expected).abs() <= 0.01 * expected.abs();
                    assert!(same || close, "{precision} at {i}, {j}: {found}, not {expected}");
                }
            }
            let (a, b) = (
                vec![f32::MAX; m * k],
                noise(1, k * n).iter().map(|x| x / 64.0).collect::<Vec<_>>(),
            );
            gemm(
                &team,
                1.0,
                Mat::new(&a, m, k),
                Mat::new(&b, k, n),
                Write::Set,
                MatMut::new(&mut c, m, n),
                Epilogue::None,
            );
            let is_finite = c.iter().all(|x| x.is_finite());
            assert_eq!(
                is_finite,
                precision == Precision::F32Split,
                "bf16 rounds the largest floats up"
            );
        }
    }
}

/// Small parts of small numbers are lost, no more: the bound of the numeric contract for operands that small.
#[test]
fn the_smallest_numbers_lose_a_subnormal_at_most() {
    let (m, n, k) = (20, 20, 60);
    let tiny: Vec<f32> = noise(1, m * k).iter().map(|x| x * 2.0_f32.powi(-115)).collect();
    let large: Vec<f32> = noise(2, k * n).iter().map(|x| x * 2.0_f32.powi(60)).collect();
    for team in teams(Precision::F32Split) {
        let mut c = vec![0.0; m * n];
        let (a, b) = (Mat::new(&tiny, m, k), Mat::new(&large, k, n));
        gemm(&team, 1.0, a, b, Write::Set, MatMut::new(&mut c, m, n), Epilogue::None);
        for i in 0..m {
            for j in 0..n {
                let products = |p: usize| f64::from(a.at(i, p)) * f64::from(b.at(p, j));
                let sum: f64 = (0..k).map(products).sum();
                let size: f64 = (0..k).map(|p| products(p).abs()).sum();
                let of_b: f64 = (0..k).map(|p| f64::from(b.at(p, j)).abs()).sum();
                let bound = 31.0 * f64::from(f32::EPSILON) * size
                    + 2.0 * f64::from(f32::MIN_POSITIVE) * of_b;
                let error = (f64::from(c[i * n + j]) - sum).abs();
                assert!(error <= bound, "{i}, {j}: {error:e} > {bound:e}");
            }
        }
    }
}

/// The step of a layer's weights moves them by the gradient that a product of its own gives.
#[test]
fn weights_move_by_the_product_in_their_precision() {
    let (n, inputs, units) = (60, 150, 70);
    let (x, dz) = (noise(1, n * inputs), noise(2, n * units));
    let (x, start) = (Mat::new(&x, n, inputs), noise(3, inputs * units));
    let sgd = Sgd { learning_rate: 0.1, momentum: 0.0, nesterov: Nesterov::No };
    for precision in Precision::ALL {
        for team in teams(precision) {
            let step = |dw: Option<&[f32]>| {
                let (mut params, mut room) = (start.clone(), vec![f32::NAN; start.len()]);
                let (rule, decay) = (Rule::Sgd(sgd), Decay::NONE);
                let memory = [&mut [][..], &mut [][..]];
                let moving = Moving { rule, decay, params: &mut params, memory };
                match dw {
                    Some(dw) => moving.step(&team, dw),
                    None => step_by_product(&team, x, &dz, &mut room, moving),
                }
                params
            };
            let mut dw = vec![f32::NAN; start.len()];
            let target = MatMut::new(&mut dw, inputs, units);
            gemm(&team, 1.0, x.t(), Mat::new(&dz, n, units), Write::Set, target, Epilogue::None);
            let (apart, together) = (step(Some(&dw)), step(None));
            match precision {
                // There the step is a product with scaled gradients.
                Precision::F32 => crate::common::assert_close(&together, &apart, 1e-5, 1e-6, "f32"),
                _ => assert_eq!(bits(&together), bits(&apart), "{precision}"),
            }
        }
    }
}

#[test]
fn names_are_read_back() {
    for precision in Precision::ALL {
        assert_eq!(Precision::from_name(precision.name()), Ok(precision));
    }
    let error = Precision::from_name("fp16").unwrap_err().to_string();
    assert_eq!(error, "unknown precision `fp16`: choose one of f32, f32-split, bf16");
    assert!(Bf16Kernel::detected(Isa::Portable).eq([Bf16Kernel::MulAdd]));
    for isa in Isa::detected() {
        let fastest = Bf16Kernel::fastest(isa);
        assert!(fastest.is_detected(isa) && fastest != Bf16Kernel::AmxTwin);
        for kernel in Bf16Kernel::detected(isa) {
            assert!(kernel.is_detected(isa));
        }
    }
    if !Bf16Kernel::Amx.is_detected(Isa::Avx512) {
        println!("AMX has not been run: {:?}", Bf16Kernel::refusal_of_amx());
    }
}

#[test]
#[should_panic(expected = "`avx512-bf16` does not run beside `portable` on this CPU")]
fn refuses_a_kernel_that_does_not_run() {
    let arithmetic = Arithmetic { precision: Precision::Bf16, kernel: Bf16Kernel::Avx512Bf16 };
    let _ = Team::solo(Isa::Portable).with_arithmetic(arithmetic);
}
