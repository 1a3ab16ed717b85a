//! etcd's messages, generated from `proto/etcd.proto`, and how those that we send are made.

use bytes::Bytes;

pub(super) use self::generated::{
    AuthenticateRequest, Compare, Event, KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, WatchRequest,
    event::EventType, watch_client::WatchClient,
};
use self::generated::{
    DeleteRangeRequest, WatchCreateRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
    watch_request::RequestUnion,
};
pub(super) use self::generated::{auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient};

#[expect(clippy::all, reason = "generated")]
mod generated {
    tonic::include_proto!("etcdserverpb");
}

/// A range of keys: all that begin with `prefix`, which ends with a slash.
pub(super) fn below(prefix: &str) -> RangeRequest {
    RangeRequest { key: prefix.to_owned().into(), range_end: end_of(prefix), ..RangeRequest::default() }
}

/// One key.
pub(super) fn at(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone(), ..RangeRequest::default() }
}

/// Whatever happens below `prefix`, from now on.
pub(super) fn watch_below(prefix: &str) -> WatchRequest {
    let create = WatchCreateRequest { key: prefix.to_owned().into(), range_end: end_of(prefix) };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

/// The first key after all that begin with `prefix`.
fn end_of(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1; // A slash: no overflow.
    }
    end.into()
}

/// Whether the key was made in this revision; in 0: whether it is not there.
pub(super) fn made_in(key: &Bytes, revision: i64) -> Compare {
    compare(key, CompareTarget::Create, TargetUnion::CreateRevision(revision))
}

/// Whether the key was written last in this revision.
pub(super) fn written_in(key: &Bytes, revision: i64) -> Compare {
    compare(key, CompareTarget::Mod, TargetUnion::ModRevision(revision))
}

fn compare(key: &Bytes, target: CompareTarget, with: TargetUnion) -> Compare {
    let (result, target) = (CompareResult::Equal.into(), target.into());
    Compare { result, target, key: key.clone(), target_union: Some(with) }
}

pub(super) fn put(put: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(put)) }
}

pub(super) fn delete(key: &Bytes) -> RequestOp {
    RequestOp { request: Some(Request::RequestDeleteRange(DeleteRangeRequest { key: key.clone() })) }
}

pub(super) fn get(key: &Bytes) -> RequestOp {
    RequestOp { request: Some(Request::RequestRange(at(key))) }
}

impl TxnResponse {
    /// In which revision of the store it was made; an answer without one is none of etcd's.
    pub fn revision(&self) -> i64 {
        self.header.as_ref().map_or(0, |header| header.revision)
    }

    /// What its one [`get`] found.
    pub fn found(&self) -> Option<&KeyValue> {
        match self.responses.first()?.response.as_ref()? {
            Response::ResponseRange(range) => range.kvs.first(),
            _ => None,
        }
    }
}
