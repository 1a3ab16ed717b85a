//! The executor waits for I/O where it stands, as a process of its own may. In the simulation it is a coroutine with a
//! stack of its own: where it would wait, it lets the others run.

use std::{
    future::Future,
    pin::Pin,
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
    task::{Context, Poll, Waker},
};

use corosensei::{Coroutine, CoroutineResult, Yielder};
use mapreduce_executor::Suspend;

/// A function that runs on its own stack, as a future. Dropping it unwinds the stack.
pub(crate) struct Running {
    coroutine: Coroutine<(), (), ()>,
    suspender: Arc<Suspender>,
}

/// How the function suspends itself.
#[derive(Debug)]
pub(crate) struct Suspender {
    waker: Mutex<Waker>,
    /// Of the coroutine, from its first moment to its last.
    yielder: AtomicPtr<Yielder<(), ()>>,
}

impl Running {
    /// `body` is to suspend itself by its argument, and by nothing else, and to hand that to nobody who outlives it.
    pub(crate) fn new(body: impl FnOnce(Arc<Suspender>) + 'static) -> Running {
        let suspender = Arc::new(Suspender {
            waker: Mutex::new(Waker::noop().clone()),
            yielder: AtomicPtr::new(ptr::null_mut()),
        });
        let own = suspender.clone();
        let coroutine = Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
            own.yielder.store(ptr::from_ref(yielder).cast_mut(), Ordering::Relaxed);
            body(own.clone());
        });
        Running { coroutine, suspender }
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        *self.suspender.waker.lock().unwrap_or_else(PoisonError::into_inner) = waker;
        match self.coroutine.resume(()) {
            CoroutineResult::Yield(()) => Poll::Pending,
            CoroutineResult::Return(()) => Poll::Ready(()),
        }
    }
}

impl Suspend for Suspender {
    fn waker(&self) -> Waker {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn suspend(&self) {
        let yielder = self.yielder.load(Ordering::Relaxed);
        // SAFETY: only the coroutine's own body has this suspender (see `Running::new`) and calls this while it runs; as
        // long as it runs, what the pointer shows to is on its stack. The pointer is set before the body begins.
        unsafe { (*yielder).suspend(()) }
    }
}
