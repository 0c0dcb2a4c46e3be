//! A steady training step takes no memory from the heap, with the stop-watch running. A binary of its
//! own, because it counts every allocation of the process; one test, because tests run at the same time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use threadcount::data::{Augment, Draws, Picks, Samples, Scale, Scaling, TargetBuffer, gather};
use threadcount::distributed::{Share, World, in_world};
use threadcount::nn::*;
use threadcount_kernels::gather::Cut;
use threadcount_kernels::{Isa, Pool};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with every allocation counted.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A network, and how it is trained.
struct Case {
    input: Shape,
    layers: Vec<Layer>,
    objective: Objective,
    clip_norm: Option<f32>,
    optimizer: Optimizer,
    batch_size: usize,
}

#[test]
fn steady_steps_allocate_nothing() {
    const N: usize = 16;
    let linear = |units| dense(units, Activation::Linear);
    let conv = |padding| conv2d(8, 3, padding, Activation::Relu);
    let cnn = [
        conv(Padding::Same),
        dropout(0.2),
        max_pool(2),
        conv(Padding::Valid),
        leaky_relu(0.1),
        batch_norm(),
        average_pool(2),
        flatten(),
        dense(32, Activation::Sigmoid),
        linear(10),
    ];
    let image = Shape::Image([28, 28, 1]);
    let rows = Shape::Rows([28, 28]);
    let mlp = [dense(64, Activation::Relu), linear(10)];
    let case = |input, layers: &[Layer], optimizer| Case {
        input,
        layers: layers.to_vec(),
        objective: Loss::SoftmaxCrossEntropy.into(),
        clip_norm: None,
        optimizer,
        batch_size: N,
    };
    let per_sample = Case {
        objective: Loss::BinaryCrossEntropy.into(),
        batch_size: 1,
        ..case(Shape::Flat(784), &[dense(32, Activation::Relu), linear(1)], Optimizer::sgd())
    };
    let cases = [
        case(Shape::Flat(784), &mlp, Optimizer::adam()),
        case(image, &cnn, Optimizer::rmsprop().with_momentum(0.9)),
        case(rows, &[lstm(20), linear(10)], Optimizer::adam()),
        case(rows, &[simple_rnn(20), linear(10)], Optimizer::sgd()),
        per_sample,
        Case {
            objective: Objective {
                label_smoothing: 0.1,
                l2: 0.01,
                ..Loss::SoftmaxCrossEntropy.into()
            },
            clip_norm: Some(0.1),
            ..case(image, &cnn, Optimizer::adamw())
        },
        case(image, &cnn, Optimizer::adamw()),
    ];
    // Every kind of layer, too.
    let examples = KINDS.iter().flat_map(|kind| (kind.examples)());
    let cases = cases.into_iter().chain(examples.map(|Example { input, layer }| {
        let layers = [batch_norm(), layer, flatten(), linear(10)];
        case(input, &layers, Optimizer::adam())
    }));
    let cases: Vec<Case> = cases.collect();
    let x: Vec<f32> = (0..N * 784).map(|i| (i * 37 % 256) as f32 / 255.0).collect();
    let labels: Vec<u8> = (0..N as u8).map(|i| i % 2).collect();
    for isa in Isa::detected() {
        for threads in [1, 3] {
            let pool = Pool::new(isa, threads).unwrap();
            for Case { input, layers, objective, clip_norm, optimizer, batch_size } in &cases {
                let mut plan = Plan::new(*input, layers).unwrap();
                if matches!(input, Shape::Image(_)) {
                    plan.augment_tests(TestAugment::Flip).unwrap();
                }
                let model = Model::of(plan, 1).unwrap();
                let mut network = Network::of(model, *objective, *optimizer, N).unwrap();
                network.clip_gradients(*clip_norm).unwrap();
                let x = &x[..N * input.len()];
                // All of the samples at once, in one step or in as many as there are.
                assert_eq!(batch_size * network.steps_at_once(*batch_size), N);
                network.time_laps();
                let whole = pool.enter(|team| {
                    taken(|epoch| {
                        let key = BatchKey { epoch, first_sample: 0 };
                        network.train_steps(team, x, &labels, *batch_size, key).unwrap();
                        network.evaluate_batch(team, x, &labels).unwrap();
                    })
                });
                assert_eq!(whole, 0, "{layers:?} on {isa} at {threads} threads");
                if *batch_size == 1 {
                    continue;
                }
                let world = World::one();
                network.cut_batches(Share::new(3, 1, 0).unwrap(), BatchNormOver::Batch).unwrap();
                let taken = pool.enter(|team| {
                    taken(|epoch| {
                        let key = BatchKey { epoch, first_sample: 0 };
                        network.train_shards(team, &world, N, x, &labels, key).unwrap();
                    })
                });
                assert_eq!(taken, 0, "{layers:?} in shards on {isa} at {threads} threads");
            }
            let taken = batches(&pool);
            assert_eq!(taken, 0, "augmented batches on {isa} at {threads} threads");
        }
    }
    for over in [BatchNormOver::Batch, BatchNormOver::Shard] {
        assert_eq!(shared(&cases[1], over, &x, &labels), 0, "two ranks, {over:?}");
    }
}

/// What ten steps of two ranks together allocate, once they are steady.
fn shared(case: &Case, over: BatchNormOver, x: &[f32], labels: &[u8]) -> usize {
    let Case { input, layers, objective, optimizer, batch_size, .. } = case;
    let inputs = input.len();
    let taken = in_world(2, |world| {
        let share = Share::new(4, 2, world.rank())?;
        let mut network = Network::build(*input, layers, *objective, *optimizer, *batch_size, 1)?;
        network.cut_batches(share, over)?;
        let own = batch_size / 2 * world.rank()..batch_size / 2 * (world.rank() + 1);
        let (x, labels) = (&x[own.start * inputs..own.end * inputs], &labels[own]);
        let pool = Pool::new(Isa::best(), 1).unwrap();
        pool.enter(|team| {
            let mut least = usize::MAX;
            for round in 0..30 {
                // Neither is ahead of the other one.
                let mut word = [0.0];
                world.spread(1, &mut word)?;
                let before = ALLOCATIONS.load(Relaxed);
                for epoch in 10 * round..10 * (round + 1) {
                    let key = BatchKey { epoch, first_sample: 0 };
                    network.train_shards(team, world, *batch_size, x, labels, key)?;
                    world.spread(2, &mut word)?;
                }
                least = least.min(ALLOCATIONS.load(Relaxed) - before);
                word = [least as f32];
                world.spread(3, &mut word)?;
                if word == [0.0] {
                    break;
                }
            }
            Ok(least)
        })
    });
    taken.into_iter().next().unwrap().unwrap()
}

/// What ten steps allocate, once they are steady.
fn taken(mut step: impl FnMut(u64)) -> usize {
    // A worker's scratch grows when it first meets the largest task, which may take some steps: steady
    // means that some ten steps in a row took nothing.
    let mut taken = usize::MAX;
    for round in 0..30 {
        let before = ALLOCATIONS.load(Relaxed);
        (10 * round..10 * (round + 1)).for_each(&mut step);
        taken = taken.min(ALLOCATIONS.load(Relaxed) - before);
        if taken == 0 {
            break;
        }
    }
    taken
}

/// What gathering augmented images allocates.
fn batches(pool: &Pool) -> usize {
    const N: usize = 40;
    let (image, pixels) = (Shape::Image([28, 28, 1]), vec![7_u8; N * 784]);
    let samples = Samples::new(image, pixels, &[0_u8; N]).unwrap();
    let scale = Scale::fit(Scaling::Unit, &samples);
    let augment: Augment = "rotate=10,scale=0.1,shift=2,flip,erase=0.5".parse().unwrap();
    let (mut out, mut targets) = (vec![0.0; N * 784], TargetBuffer::new(&samples, N));
    let order: Vec<u32> = (0..N as u32).collect();
    pool.enter(|team| {
        taken(|epoch| {
            let draws = Some(Draws::new(augment, 0, epoch));
            let picks = Picks { now: &order, next: &order, cut: Cut::Rows, draws };
            gather(team, &samples, &scale, picks, &mut out, &mut targets);
        })
    })
}
