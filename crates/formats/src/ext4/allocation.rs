//! Where blocks go: each request takes the next free ones, so that what is asked for in order lies in order, and all
//! that is free is at the end.

use std::ops::Range;

use super::extent::{self, Mapping};
use super::group::Geometry;
use super::node::Segment;

/// What a run of blocks holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The journal.
    Journal,
    /// Entries of a directory.
    Directory,
    /// The target of a symbolic link.
    Symlink,
    /// Contents of a file.
    Data,
    /// Verity metadata of a file.
    Verity,
    /// Blocks of an extent tree; `logical` counts them.
    ExtentNodes,
    /// The value of an extended attribute.
    Value,
    /// Extended attributes; `logical` is how many inodes share them.
    Xattrs,
}

/// Blocks that lie together and hold one kind of thing of one inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) mapping: Mapping,
    /// The inode number.
    pub(super) owner: u32,
    pub(super) role: Role,
}

/// Which runs are an inode's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Placement {
    /// The first of its runs; the mapped ones, then those of extent nodes.
    first_run: u32,
    mapped_runs: u32,
    node_runs: u32,
    /// The block of its extended attributes, or 0.
    pub(super) xattr_block: u64,
}

impl Placement {
    /// The runs that the inode's extents name.
    pub(super) fn mapped(self, runs: &[Run]) -> &[Run] {
        &runs[self.first_run as usize..][..self.mapped_runs as usize]
    }

    /// The runs that hold the inode's extent tree.
    pub(super) fn nodes(self, runs: &[Run]) -> &[Run] {
        &runs[(self.first_run + self.mapped_runs) as usize..][..self.node_runs as usize]
    }

    /// How many blocks the inode uses.
    pub(super) fn blocks(self, runs: &[Run]) -> u64 {
        let own = &runs[self.first_run as usize..][..(self.mapped_runs + self.node_runs) as usize];
        let mapped: u64 = own.iter().map(|run| u64::from(run.mapping.blocks)).sum();
        mapped + u64::from(self.xattr_block != 0)
    }
}

/// Hands out blocks in ascending order. `None` everywhere means that there are no more.
#[derive(Debug)]
pub(super) struct Allocator<'g> {
    fixed: std::iter::Peekable<std::slice::Iter<'g, Range<u64>>>,
    end: u64,
    cursor: u64,
    runs: Vec<Run>,
}

impl<'g> Allocator<'g> {
    /// All blocks that hold no metadata of groups.
    pub(super) fn new(geometry: &'g Geometry) -> Self {
        Allocator {
            fixed: geometry.fixed.iter().peekable(),
            end: geometry.blocks,
            cursor: 0,
            runs: Vec::new(),
        }
    }

    /// The runs handed out, and the block from which on all are free.
    pub(super) fn finish(self) -> (Vec<Run>, u64) {
        (self.runs, self.cursor)
    }

    /// Places the segments of an inode and the extent tree that names them.
    pub(super) fn place(&mut self, owner: u32, role: Role, segments: &[Segment]) -> Option<Placement> {
        let first_run = self.runs.len();
        for segment in segments {
            let role = if segment.verity { Role::Verity } else { role };
            self.take(owner, role, segment.logical, segment.blocks)?;
        }
        let mapped_runs = self.runs.len() - first_run;
        let extents = self.runs[first_run..]
            .iter()
            .map(|run| extent::extents_of(run.mapping.blocks))
            .sum();
        let nodes = u32::try_from(extent::node_blocks(extents)).ok()?;
        self.take(owner, Role::ExtentNodes, 0, nodes)?;
        Some(Placement {
            first_run: first_run as u32,
            mapped_runs: mapped_runs as u32,
            node_runs: (self.runs.len() - first_run - mapped_runs) as u32,
            xattr_block: 0,
        })
    }

    /// Places a block of attributes, shared by that many inodes.
    pub(super) fn place_xattrs(&mut self, owner: u32, shares: u32) -> Option<u64> {
        self.take(owner, Role::Xattrs, shares, 1)?;
        self.runs.last().map(|run| run.mapping.physical)
    }

    fn take(&mut self, owner: u32, role: Role, logical: u32, blocks: u32) -> Option<()> {
        let mut taken = 0;
        while taken < blocks {
            let mut limit = self.end;
            while let Some(fixed) = self.fixed.peek() {
                if fixed.start > self.cursor {
                    limit = fixed.start;
                    break;
                }
                self.cursor = fixed.end;
                self.fixed.next();
            }
            let length = (blocks - taken).min(u32::try_from(limit - self.cursor).unwrap_or(u32::MAX));
            if length == 0 {
                return None;
            }
            let mapping = Mapping {
                logical: logical + taken,
                physical: self.cursor,
                blocks: length,
            };
            self.runs.push(Run { mapping, owner, role });
            self.cursor += u64::from(length);
            taken += length;
        }
        Some(())
    }
}
