//! Components in use, each once: pillows that run the same module share its code, and those that start together compile
//! it once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::component::Component;

use crate::model::Digest;

/// A place per module. It is locked while the module is loaded, so that whoever wants the same one waits for it.
type Place = Arc<Mutex<Weak<Component>>>;

/// The components of one engine that somebody still holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded {
    places: Arc<Mutex<HashMap<Digest, Place>>>,
}

impl Loaded {
    /// The component of the module `digest`: the one in use, or else what `load` makes.
    pub(super) fn get<E>(
        &self,
        digest: Digest,
        load: impl FnOnce() -> Result<Component, E>,
    ) -> Result<Arc<Component>, E> {
        let place = self.place(digest);
        let mut known = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = known.upgrade() {
            return Ok(component);
        }
        let component = Arc::new(load()?);
        *known = Arc::downgrade(&component);
        Ok(component)
    }

    fn place(&self, digest: Digest) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // One that somebody else holds as well is being loaded; one that cannot be locked, too.
        let in_use = |place: &Place| {
            Arc::strong_count(place) > 1 || place.try_lock().is_ok_and(|component| component.strong_count() > 0)
        };
        places.retain(|known, place| *known == digest || in_use(place));
        Arc::clone(places.entry(digest).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(engine: &wasmtime::Engine) -> Result<Component, String> {
        Component::new(engine, wat::parse_str("(component)").unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_module_is_loaded_once_as_long_as_somebody_holds_it() {
        let (engine, loaded) = (wasmtime::Engine::default(), Loaded::default());
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let first = loaded.get(one, || load(&engine)).unwrap();
        let second = loaded.get(one, || Err("loaded twice".to_owned())).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert_eq!(loaded.get(one, || Err("gone".to_owned())).err(), Some("gone".to_owned()));
        // And what nobody holds leaves no trace.
        drop(loaded.get(other, || load(&engine)).unwrap());
        let _held = loaded.get(one, || load(&engine)).unwrap();
        assert_eq!(loaded.places.lock().unwrap().len(), 1);
    }

    #[test]
    fn those_that_start_together_load_once() {
        let (engine, loaded) = (wasmtime::Engine::default(), Loaded::default());
        let count = std::sync::atomic::AtomicUsize::new(0);
        let held: Vec<Arc<Component>> = std::thread::scope(|scope| {
            let start = || {
                loaded.get(Digest([1; 32]), || {
                    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    load(&engine)
                })
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        assert_eq!((held.len(), count.into_inner()), (8, 1));
    }
}
