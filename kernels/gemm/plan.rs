//! How a product is computed: by which kernels, as it is given or transposed, and cut into which tasks.
//! The plan is the cheapest way by the cost model. It is made once for each product, because making it
//! takes half a microsecond, and many products of small networks take no longer.

use super::dot::DotProduct;
use super::grid::{Grid, Store, Work, thread_costs};
use super::parts::Terms;
use super::product::{Epilogue, Product, Target};
use super::tile::{TileFacts, TileShape};
use super::words::Words;
use crate::blocking::{Blocking, Cut, ThreadCosts};
use crate::precision::{Arithmetic, Bf16Kernel};
use crate::{Isa, Team};
use std::cell::RefCell;

/// The way that a product is computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Whether the transposed problem is computed.
    pub(super) is_transposed: bool,
    pub(super) method: Method,
}

/// The kernels that compute it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    /// Dot products, in so many tasks.
    Dots { tasks: usize },
    /// Strips of C, of the operands as they are or as they are packed. How they are packed is not kept here: a plan
    /// is copied for each product, and with it products of 0.2 us took 0.01 us longer (Xeon).
    Strips { work: Work, grid: Grid },
}

/// How operands are packed for a product of bf16 numbers, and by which kernel that is computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    pub(super) terms: Terms,
    pub(super) words: Words,
    pub(super) kernel: Bf16Kernel,
}

impl Packing {
    /// The packing of a product for that workforce, and the cut of its K; `None` if it is computed in f32.
    #[inline]
    pub(super) fn of(
        workforce: &Workforce,
        blocking: &Blocking,
        given: &Product,
    ) -> Option<(Self, Cut)> {
        let Arithmetic { precision, kernel } = workforce.arithmetic;
        let (m, n, k) = (given.a.rows(), given.b.cols(), given.a.cols());
        let terms = Terms::of(precision.of_product(m, n, k))?;
        let (words, cut) = Words::of(blocking, k, terms, kernel);
        Some((Self { terms, words, kernel }, cut))
    }
}

/// Who is to compute it.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Workforce {
    isa: Isa,
    arithmetic: Arithmetic,
    threads: usize,
    costs: ThreadCosts,
}

impl Workforce {
    /// All of a team.
    pub(super) fn of(team: &Team, blocking: &Blocking) -> Self {
        let costs = thread_costs(team, blocking);
        let (isa, arithmetic, threads) = (team.isa(), team.arithmetic(), team.threads());
        Self { isa, arithmetic, threads, costs }
    }

    /// How it cuts a band of so many columns.
    pub(super) fn grid(&self, work: &Work, cols: usize) -> Grid {
        Work { n: cols, ..*work }.grid(self.threads, self.costs).0
    }

    /// One thread, in f32.
    pub(super) fn alone(isa: Isa) -> Self {
        Self { isa, arithmetic: Arithmetic::F32, threads: 1, costs: ThreadCosts::NONE }
    }
}

/// All that a plan depends on. Neither alpha nor beta: the complete sum is scaled, however it is cut.
#[derive(Clone, Copy, PartialEq)]
struct Key {
    workforce: Workforce,
    blocking: Blocking,
    /// m, n, k, and the row and column strides of A, B and C.
    sizes: [usize; 9],
    epilogue: EpilogueKind,
}

#[derive(Clone, Copy, PartialEq)]
enum EpilogueKind {
    None,
    Bias,
    Derivative,
}

/// Plans that are kept: several times the products of a training step.
const PLANS: usize = 256;

thread_local! {
    /// The plans of this thread's products, each in the place that its key gives, until another plan
    /// takes that place.
    static KEPT: RefCell<Vec<Option<(Key, Plan)>>> = const { RefCell::new(Vec::new()) };
}

impl Key {
    fn of(workforce: Workforce, blocking: Blocking, Product { a, b, target }: &Product) -> Self {
        let (m, n, k) = (a.rows(), b.cols(), a.cols());
        Self {
            workforce,
            blocking,
            sizes: [m, n, k, a.rs(), a.cs(), b.rs(), b.cs(), target.rs, target.cs],
            epilogue: match target.epilogue {
                Epilogue::None => EpilogueKind::None,
                Epilogue::Bias { .. } => EpilogueKind::Bias,
                Epilogue::Derivative { .. } => EpilogueKind::Derivative,
            },
        }
    }

    /// A place below [`PLANS`]: multiplicative hashing of the sizes.
    fn place(&self) -> usize {
        let mix = |hash: u64, &size: &usize| {
            (hash.rotate_left(5) ^ size as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        };
        (self.sizes.iter().fold(0, mix) >> 32) as usize % PLANS
    }
}

impl Plan {
    /// The plan of a product, made now or kept from before.
    pub(super) fn of(workforce: Workforce, blocking: &Blocking, given: &Product) -> Self {
        let key = Key::of(workforce, *blocking, given);
        KEPT.with_borrow_mut(|plans| {
            plans.resize_with(PLANS, || None);
            let kept = &mut plans[key.place()];
            match kept {
                Some((of, plan)) if *of == key => *plan,
                _ => kept.insert((key, Self::new(workforce, blocking, given))).1,
            }
        })
    }

    fn new(workforce: Workforce, blocking: &Blocking, given: &Product) -> Self {
        let Workforce { isa, threads, costs, .. } = workforce;
        let packing = Packing::of(&workforce, blocking, given);
        let both = [(false, *given), (true, given.transposed())];
        let works = both.map(|(is_transposed, product)| {
            product.work(isa, blocking, packing).map(|work| (is_transposed, work))
        });
        let works = works.into_iter().flatten();
        // Dot products sum in another order, which gives other bits. So the choice between them and tiles
        // depends neither on the number of threads nor on the instruction set: it is the choice that
        // suits the widest vectors.
        let alone = works.clone().map(|(_, work)| {
            Work { tile: TileShape::WIDEST, has_half: true, ..work }.grid(1, ThreadCosts::NONE).1
        });
        if packing.is_none()
            && let Some((is_transposed, cost)) = dot_products(blocking, both)
            && cost < alone.fold(f64::INFINITY, f64::min)
        {
            let tasks = ((cost / costs.phase.max(1.0)) as usize).clamp(1, threads);
            return Self { is_transposed, method: Method::Dots { tasks } };
        }
        let by_blocks = given.work(isa, blocking, packing).and_then(|work| work.by_blocks());
        let by_blocks = by_blocks.filter(|_| threads > 1);
        let works = works.chain(by_blocks.map(|work| (false, work)));
        let plans = works.map(|(is_transposed, work)| {
            let (grid, cost) = work.grid(threads, costs);
            (cost, Self { is_transposed, method: Method::Strips { work, grid } })
        });
        let best = plans.min_by(|a, b| a.0.total_cmp(&b.0));
        best.expect("the problem as given suits every epilogue").1
    }
}

/// Whether dot products are better transposed, and what they cost, if they can compute it.
fn dot_products(blocking: &Blocking, both: [(bool, Product); 2]) -> Option<(bool, f64)> {
    let costs = both.into_iter().filter_map(|(is_transposed, Product { a, b, target })| {
        // A transposed row of C has an epilogue of its own.
        if is_transposed && !matches!(target.epilogue, Epilogue::None) {
            return None;
        }
        Some((is_transposed, DotProduct { a, b, target }.cost(blocking)?))
    });
    costs.min_by(|a, b| a.1.total_cmp(&b.1))
}

impl Product<'_> {
    /// The cost model's view of it, if the kernels can compute it: a bias for each row needs the
    /// store by column.
    fn work(&self, isa: Isa, blocking: &Blocking, packing: Option<(Packing, Cut)>) -> Option<Work> {
        let (m, n, k) = (self.a.rows(), self.b.cols(), self.a.cols());
        let store = match self.target {
            Target { cs: 1, .. } => Store::ByRow,
            _ if self.target.is_by_column() => Store::ByColumn,
            _ => Store::Scattered,
        };
        let by_column = store == Store::ByColumn;
        // Packed operands have other steps of K, and B lies by row.
        let (k, Cut { kc, blocks, slices }, turns_b) = match packing {
            None => (k, blocking.cut(k), self.b.cs() != 1),
            Some((Packing { words, .. }, cut)) => {
                (words.count(), Cut { kc: words.per_block(), ..cut }, false)
            }
        };
        if by_column && slices > 1 {
            return None;
        }
        if matches!(self.target.epilogue, Epilogue::Bias { .. })
            && self.target.is_transposed != by_column
        {
            return None;
        }
        // Tiles are loaded from where they were packed.
        let is_on_tiles = packing.is_some_and(|(packing, _)| packing.kernel.is_on_tiles());
        let (tile, has_half, copy_b_rows) = if is_on_tiles {
            (TileShape::SQUARE, false, usize::MAX)
        } else {
            let (tile, has_half) = isa.run(TileFacts);
            (tile, has_half, blocking.copy_b_rows)
        };
        Some(Work { m, n, k, kc, blocks, slices, tile, has_half, turns_b, store, copy_b_rows })
    }
}
