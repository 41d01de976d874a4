//! etcd: following its keys, whatever becomes of it.

mod watching;
