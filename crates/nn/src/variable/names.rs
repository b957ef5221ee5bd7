//! What variables go by while something is built of them. A parameter is in as many models as hold it, and has another path in each;
//! so it has no name of its own, and what is traced from a model calls it by its path there.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use kiln_ir::op::VariableHandle;
use kiln_ir::{DType, Shape};

use super::Variable;
use crate::storage::Storage;

type Names = HashMap<usize, Arc<NamedVariable>>;

thread_local! {
    /// What goes by a name in what is being built on this thread.
    static NAMES: RefCell<Option<Names>> = const { RefCell::new(None) };
}

/// A variable under the name that it goes by, which may be found after it was used: layers are made when the first tensor comes.
struct NamedVariable {
    storage: Arc<Storage>,
    name: OnceLock<String>,
}

impl VariableHandle for NamedVariable {
    fn name(&self) -> String {
        self.name.get().unwrap_or(&self.storage.name).clone()
    }

    fn shape(&self) -> &Shape {
        &self.storage.shape
    }

    fn dtype(&self) -> DType {
        self.storage.dtype
    }

    fn as_any(&self) -> &dyn Any {
        &*self.storage
    }
}

impl fmt::Debug for NamedVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.name(), self.storage.dtype, self.storage.shape)
    }
}

/// Runs `f`, which builds something in which variables may go by names; those outside are as before when it ends, also by a panic.
pub(crate) fn naming<R>(f: impl FnOnce() -> R) -> R {
    struct Outside(Option<Names>);
    impl Drop for Outside {
        fn drop(&mut self) {
            NAMES.set(self.0.take());
        }
    }
    let _outside = Outside(NAMES.replace(Some(Names::new())));
    f()
}

/// Runs `f` among the names that there are, or with new ones where there are none.
pub(crate) fn naming_on<R>(f: impl FnOnce() -> R) -> R {
    if NAMES.with_borrow(Option::is_some) { f() } else { naming(f) }
}

/// From now on these variables go by these names in what is being built, where it has none for them.
pub(crate) fn call<'v>(names: impl IntoIterator<Item = (String, &'v Variable)>) {
    NAMES.with_borrow_mut(|known| {
        let Some(known) = known else { return };
        for (name, variable) in names {
            // Who knows it under a name already keeps that one.
            let _ = entry(known, &variable.0).name.set(name);
        }
    });
}

/// How what is being built refers to a variable.
pub(super) fn handle(storage: &Arc<Storage>) -> Arc<dyn VariableHandle> {
    NAMES.with_borrow_mut(|known| -> Arc<dyn VariableHandle> {
        match known {
            Some(known) if storage.name.is_empty() => entry(known, storage).clone(),
            _ => storage.clone(),
        }
    })
}

fn entry<'n>(known: &'n mut Names, storage: &Arc<Storage>) -> &'n mut Arc<NamedVariable> {
    let named = || Arc::new(NamedVariable { storage: storage.clone(), name: OnceLock::new() });
    known.entry(Arc::as_ptr(storage).addr()).or_insert_with(named)
}
