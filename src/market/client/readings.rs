//! What an answer said, where the very same answer comes again.
//!
//! Lists hardly ever change between two looks. What a reader makes of a request and its answer depends on nothing else
//! ([`Exchange::read`](crate::market::Exchange)), so where both are the same, byte for byte, it is not made again. This is
//! another thing than a conditional request ([`copies`]), which spares the server and the wire; the copy that
//! a 304 stands for is one answer that comes again.
//!
//! **Invariant:** only what could be read is kept, the newest of each call, and nothing that may not be kept as a copy.

use super::copies;
use crate::io::net::{Request, Response};
use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

/// Larger answers are read anew. Of a list of ten thousand machines only copies are kept.
const BYTES_MAX: usize = 4 * 1024 * 1024;

struct Reading {
    request: Request,
    response: Arc<Response>,
    said: Box<dyn Any + Send + Sync>,
}

/// The newest answer to each call, and what it said.
#[derive(Default)]
pub struct Readings(BTreeMap<&'static str, Reading>);

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} readings", self.0.len())
    }
}

impl Readings {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this answer to this request said when it was last read; `None` where that was not the newest of its call.
    pub fn again<T: Clone + 'static>(
        &self,
        call: &'static str,
        request: &Request,
        response: &Arc<Response>,
    ) -> Option<T> {
        let reading = self.0.get(call).filter(|reading| reading.request == *request)?;
        let is_same = Arc::ptr_eq(&reading.response, response) || reading.response == *response;
        reading.said.downcast_ref::<T>().filter(|_| is_same).cloned()
    }

    /// Keeps what an answer said, in place of what was kept before.
    pub fn keep<T: Clone + Send + Sync + 'static>(
        &mut self,
        call: &'static str,
        request: &Request,
        response: &Arc<Response>,
        said: &T,
    ) {
        if response.body.len() > BYTES_MAX || !copies::may_be_kept(response) {
            self.0.remove(call);
            return;
        }
        let said = Box::new(said.clone());
        self.0.insert(call, Reading { request: request.clone(), response: Arc::clone(response), said });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: usize) -> Request {
        Request::get(format!("/list/{id}"))
    }

    fn answer(body: &str) -> Arc<Response> {
        Arc::new(Response::json(200, body))
    }

    fn read(body: &str) -> Readings {
        let mut readings = Readings::new();
        readings.keep("list", &asked(1), &answer(body), &body.len());
        readings
    }

    #[test]
    fn the_same_answer_to_the_same_request_says_the_same_and_no_other_does() {
        let readings = read("{}");
        assert_eq!(readings.again::<usize>("list", &asked(1), &answer("{}")), Some(2));
        assert_eq!(readings.again::<usize>("list", &asked(2), &answer("{}")), None);
        assert_eq!(readings.again::<usize>("other", &asked(1), &answer("{}")), None);
        assert_eq!(readings.again::<usize>("list", &asked(1), &answer("[]")), None);
        assert_eq!(readings.again::<u8>("list", &asked(1), &answer("{}")), None, "nobody reads it as that");
        let unlike = Response { status: 500, ..(*answer("{}")).clone() };
        assert_eq!(readings.again::<usize>("list", &asked(1), &Arc::new(unlike)), None);
    }

    #[test]
    fn what_carries_keys_or_is_large_is_read_anew_and_so_is_what_it_replaced() {
        for body in [r#"{"instances":[{"pem":"any"}]}"#.to_owned(), " ".repeat(BYTES_MAX + 1)] {
            let mut readings = read("{}");
            readings.keep("list", &asked(1), &answer(&body), &body.len());
            assert_eq!(readings.again::<usize>("list", &asked(1), &answer(&body)), None);
            assert_eq!(readings.again::<usize>("list", &asked(1), &answer("{}")), None);
        }
        assert_eq!(format!("{:?}", read("{}")), "1 readings");
    }
}
