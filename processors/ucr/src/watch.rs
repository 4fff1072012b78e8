//! Who watches what an evaluation does: what a profile is made from.
//!
//! Without the feature `profile`, which only tools turn on, all of this is empty and costs nothing.

#[cfg(not(feature = "profile"))]
use std::marker::PhantomData;
#[cfg(feature = "profile")]
use std::rc::Rc;

/// A part of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The main filter of a data source.
    ConfiguredFilter,
    BaseItem,
    /// By its number.
    Validation(usize),
    /// By its number among all of them, also those that each data source has.
    Indicator(usize),
    /// By the name of its type in configurations.
    Expression(&'static str),
    /// By the name of its type in configurations.
    Filter(&'static str),
}

/// Is told when a part begins and ends. Parts lie within each other: the one that ends is the one that began last.
pub trait Watch {
    fn begins(&self, part: Part);
    fn ends(&self);
}

/// Nobody, or someone who watches.
#[derive(Clone, Default)]
pub(crate) struct Watcher {
    #[cfg(feature = "profile")]
    watch: Option<Rc<dyn Watch>>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

impl Watcher {
    #[cfg(feature = "profile")]
    pub(crate) fn new(watch: Rc<dyn Watch>) -> Self {
        Self { watch: Some(watch) }
    }

    /// The part lasts until the answer is dropped.
    #[cfg(feature = "profile")]
    pub(crate) fn during(&self, part: impl FnOnce() -> Part) -> During<'_> {
        let watch = self.watch.as_deref();
        if let Some(watch) = watch {
            watch.begins(part());
        }
        During { watch }
    }

    #[cfg(not(feature = "profile"))]
    #[inline(always)]
    pub(crate) fn during(&self, _: impl FnOnce() -> Part) -> During<'_> {
        During { watch: PhantomData }
    }
}

/// A part that has begun and not ended.
pub(crate) struct During<'w> {
    #[cfg(feature = "profile")]
    watch: Option<&'w dyn Watch>,
    #[cfg(not(feature = "profile"))]
    watch: PhantomData<&'w ()>,
}

#[cfg(feature = "profile")]
impl Drop for During<'_> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch {
            watch.ends();
        }
    }
}
