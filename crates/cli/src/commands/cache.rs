//! `osmith cache`: the directories that RUN steps keep from build to build.

use std::time::UNIX_EPOCH;

use osmith_image::rfc3339;
use osmith_image::store::{CacheIdentity, ListedCache, Store};
use osmith_report::{Class, printable};
use serde_json::json;

use super::images::{print, table};
use crate::args::{CacheListArgs, CacheRemoveArgs, ListFormat};
use crate::failure::{CommandFailure, CommandResult};
use crate::size;

pub(crate) fn list(args: &CacheListArgs, store: &Store) -> CommandResult {
    let caches = store.cache_mounts()?;
    match args.format {
        ListFormat::Json => {
            let list: Vec<_> = caches.iter().map(entry).collect();
            print(&format!("{:#}\n", json!(list)))
        }
        ListFormat::Table => print(&rows(&caches)),
    }
}

fn entry(cache: &ListedCache) -> serde_json::Value {
    let CacheIdentity { id, uid, gid } = &cache.identity;
    json!({
        "Id": id,
        "Uid": uid,
        "Gid": gid,
        "Size": cache.size_bytes,
        "LastUsed": last_used(cache),
        "InUse": cache.is_used,
    })
}

fn last_used(cache: &ListedCache) -> Option<String> {
    let since = cache.last_used?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(rfc3339)
}

fn rows(caches: &[ListedCache]) -> String {
    let mut rows = vec![["ID", "OWNER", "SIZE", "LAST USED"].map(str::to_owned)];
    rows.extend(caches.iter().map(|cache| {
        let CacheIdentity { id, uid, gid } = &cache.identity;
        let used = match cache.is_used {
            true => "now".to_owned(),
            false => last_used(cache).unwrap_or_default(),
        };
        [
            printable(id),
            format!("{uid}:{gid}"),
            size::render(cache.size_bytes),
            used,
        ]
    }));
    table(&rows)
}

pub(crate) fn remove(args: &CacheRemoveArgs, store: &Store) -> CommandResult {
    let caches = store.cache_mounts()?;
    for id in &args.ids {
        if !caches.iter().any(|cache| cache.identity.id == *id) {
            let message = format!("no cache is called '{id}'");
            return Err(CommandFailure::new(Class::NotFound, message)
                .hint("osmith cache list shows all")
                .into());
        }
    }
    let is_meant = |cache: &&ListedCache| args.all || args.ids.contains(&cache.identity.id);
    let mut freed_bytes = 0;
    let mut used = Vec::new();
    for cache in caches.iter().filter(is_meant) {
        match store.remove_cache_mount(&cache.identity)? {
            true => freed_bytes += cache.size_bytes,
            false => used.push(format!("'{}'", cache.identity.id)),
        }
    }
    print(&format!("{} freed\n", size::render(freed_bytes)))?;
    match used.is_empty() {
        true => Ok(()),
        false => {
            let message = format!("in use: {}", used.join(", "));
            Err(CommandFailure::new(Class::Conflict, message)
                .hint("wait for the builds that use them")
                .into())
        }
    }
}
