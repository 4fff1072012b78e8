//! What can be typed.

use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::feed::Share;
use crate::model::{Partition, Position};

/// Change feeds to search indices and tables, through WASM processors that are swapped live.
#[derive(Debug, Parser)]
#[command(name = "pillowtop", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The settings: databases, feeds, document stores, sinks, limits.
    #[arg(long, global = true, default_value = "pillowtop.toml", env = "PILLOWTOP_SETTINGS")]
    pub(crate) settings: PathBuf,
    /// The folder with the manifests, one pillow each.
    #[arg(long, global = true, default_value = "pipelines", env = "PILLOWTOP_PIPELINES")]
    pub(crate) pipelines: PathBuf,
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  could not be done: a server, a file, or what was asked for is not there
  2  wrong input: a flag, a query, the settings, a manifest
  3  a pillow halted or failed while `run --until-caught-up` waited for it";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the pillows, and follow manifests and modules as they change.
    Run(Run),
    /// Check settings, manifests and modules; run nothing.
    Check,
    /// Show every pillow: state, lag, rates, what code runs. Works from another process.
    Status,
    /// Stop reading for a pillow, on every host; what is in hand is settled.
    Pause {
        /// The pillow.
        pillow: String,
    },
    /// Let a paused or halted pillow go on.
    Resume {
        /// The pillow.
        pillow: String,
    },
    /// Write documents or changes, one JSON object a line, into a change log.
    Publish {
        /// The feed, by its name in the settings.
        feed: String,
        /// The file; standard input when absent.
        file: Option<PathBuf>,
    },
    /// Bring every document of a pillow's stores through its processors again; also while the engine runs.
    ///
    /// A running host does it beside its feed. Where none runs the pillow, this command does it itself. What was begun
    /// goes on.
    Backfill(Backfill),
    /// Fill a table anew from the documents, beside the one that is there, which it then replaces.
    ///
    /// Changes go on meanwhile. A running host does it; where none runs the pillow, this command does it itself. What was
    /// begun goes on.
    Rebuild(Rebuild),
    /// Search an index, embedded or on a server; also while the engine runs.
    Search(Search),
    /// Ask the tables of a SQL sink, reading only; also while the engine runs.
    Sql(Sql),
    /// Show or move checkpoints.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Work on parked failures.
    #[command(subcommand)]
    Errors(ErrorsCommand),
    /// Show what waits because a processor deferred it: how much of each pillow, or the entries of one.
    Queue(Queue),
    /// Look at a processor's module, or try it.
    #[command(subcommand)]
    Processor(ProcessorCommand),
    /// Work on data sources of user configurable reports.
    #[command(subcommand)]
    Ucr(UcrCommand),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Only these pillows.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// End when every feed was read to its end and all is settled.
    #[arg(long)]
    pub(crate) until_caught_up: bool,
    /// Which of the hosts that share the partitions this one is, counted from 0.
    #[arg(long, value_name = "K", default_value_t = 0, env = "PILLOWTOP_PROCESS")]
    pub(crate) process: u32,
    /// How many hosts share the partitions; the same on all of them.
    #[arg(long, value_name = "N", default_value = "1", env = "PILLOWTOP_PROCESSES")]
    pub(crate) processes: NonZeroU32,
    /// Let process 0 read nothing, to have it free for migrations.
    #[arg(long, env = "PILLOWTOP_DEDICATED_MIGRATION_PROCESS")]
    pub(crate) dedicated_migration_process: bool,
}

impl Run {
    /// The share of the partitions that this host reads.
    ///
    /// # Errors
    /// What is wrong with the flags.
    pub(crate) fn share(&self) -> Result<Share, String> {
        let Self { process, processes, .. } = self;
        let share = Share::new(*process, *processes).ok_or_else(|| {
            format!("--process {process} is none of {processes}: processes are counted from 0, and --processes says how many there are")
        })?;
        if !self.dedicated_migration_process {
            return Ok(share);
        }
        share
            .with_dedicated_migration_process()
            .ok_or_else(|| "--dedicated-migration-process needs --processes of 2 or more".to_owned())
    }
}

/// Arguments of `backfill`.
#[derive(Debug, Args)]
pub(crate) struct Backfill {
    /// The pillow.
    pub(crate) pillow: String,
    /// Run only this processor.
    #[arg(long)]
    pub(crate) processor: Option<String>,
    /// At most so many documents a second.
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<NonZeroU32>,
    /// End the backfill that is under way, instead.
    #[arg(long, conflicts_with_all = ["processor", "rate"])]
    pub(crate) cancel: bool,
}

/// Arguments of `rebuild`.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// The pillow.
    pub(crate) pillow: String,
    /// The table.
    pub(crate) table: String,
}

/// Arguments of `search`.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// The index.
    pub(crate) index: String,
    /// Words, `field:value`, phrases, ranges, AND, OR, NOT.
    pub(crate) query: String,
    /// Show these fields of what is found, such as `name,form.meta.username`, instead of the beginning of all.
    #[arg(long, value_delimiter = ',', value_name = "FIELD")]
    pub(crate) fields: Vec<String>,
    /// The sink, where the settings define several with indices.
    #[arg(long)]
    pub(crate) sink: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 10)]
    pub(crate) limit: usize,
}

/// Arguments of `sql`.
#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// One statement, such as `select * from visits`.
    pub(crate) statement: String,
    /// The sink, where the settings define several with different databases.
    #[arg(long)]
    pub(crate) sink: Option<String>,
    /// At most so many rows.
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: usize,
}

/// The `checkpoint` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// All checkpoints.
    List,
    /// One pillow's checkpoints and their latest moves.
    Show {
        /// The pillow.
        pillow: String,
        /// So many moves.
        #[arg(long, default_value_t = 20)]
        moves: u32,
    },
    /// Put a checkpoint somewhere else, forward or back. Refused while the pillow runs.
    Set {
        /// The pillow.
        pillow: String,
        /// `TOPIC:PARTITION`.
        #[arg(value_parser = parse_partition)]
        partition: Partition,
        /// The next position to read.
        #[arg(value_parser = parse_position)]
        position: Position,
        /// The log it belongs to, when it is not the one of the stored checkpoint.
        #[arg(long)]
        incarnation: Option<String>,
        /// Why; kept in the history.
        #[arg(long)]
        why: String,
    },
}

/// Which parked failures.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The number of one failure.
    pub(crate) number: Option<i64>,
    /// Those of this pillow.
    #[arg(long)]
    pub(crate) pillow: Option<String>,
    /// Those of this processor.
    #[arg(long)]
    pub(crate) processor: Option<String>,
    /// Those of this document.
    #[arg(long)]
    pub(crate) document: Option<String>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["number", "pillow", "processor", "document"])]
    pub(crate) all: bool,
}

/// The `errors` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ErrorsCommand {
    /// Parked failures, the oldest first.
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Everything about one.
    Show {
        /// Its number.
        number: i64,
    },
    /// Try them again: read the document anew, run only the processor that failed. Where no host runs the pillow, this
    /// command does it itself, and says what came of it.
    Retry(Which),
    /// Drop them for good.
    Drop(Which),
}

/// Arguments of `queue`.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    /// The pillow.
    pub(crate) pillow: Option<String>,
    /// At most so many entries, those that are due first.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
}

/// The `processor` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ProcessorCommand {
    /// What a module is: contract, imports, exports, size, digest.
    Inspect {
        /// The module.
        file: PathBuf,
    },
    /// Run a module over documents and print the writes.
    Run {
        /// The module.
        file: PathBuf,
        /// Documents, one JSON object a line.
        #[arg(long)]
        input: PathBuf,
        /// The configuration, as JSON.
        #[arg(long, default_value = "{}")]
        config: String,
        /// The topic that the processor is told.
        #[arg(long, default_value = "input")]
        topic: String,
    },
}

/// The `ucr` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum UcrCommand {
    /// Say everything that is wrong with definitions of data sources, each with its place.
    Check(UcrCheck),
    /// Show the rows that documents give in data sources, or which filter says no.
    Rows(UcrRows),
    /// Show what the rows of documents cost: the time of each column and type of expression, and look-ups.
    Profile(UcrProfile),
    /// Run test vectors through the row builder's module, and show what comes out otherwise than expected.
    Vectors(UcrVectors),
    /// Fill the table of a data source anew, as `rebuild` does; the pillow is found by the data sources of the manifests.
    Rebuild(UcrRebuild),
}

/// Arguments of `ucr check`.
#[derive(Debug, Args)]
pub(crate) struct UcrCheck {
    /// Definitions as JSON, or as YAML (`.yaml`, `.yml`): a data source, a static one, or a list of them.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Arguments of `ucr rows`.
#[derive(Debug, Args)]
pub(crate) struct UcrRows {
    /// Definitions as JSON, or as YAML (`.yaml`, `.yml`): a data source, a static one, or a list of them.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Documents as JSON: one, a list of them, or one a line.
    #[arg(long)]
    pub(crate) document: PathBuf,
    /// What look-ups find, as test vectors have it in `related_docs`; without it they find nothing.
    #[arg(long)]
    pub(crate) related: Option<PathBuf>,
}

/// Arguments of `ucr profile`.
#[derive(Debug, Args)]
pub(crate) struct UcrProfile {
    /// What is measured.
    #[command(flatten)]
    pub(crate) rows: UcrRows,
    /// So many times over; the times shown are those of once.
    #[arg(long, default_value = "100")]
    pub(crate) repeat: NonZeroU32,
}

/// Arguments of `ucr rebuild`.
#[derive(Debug, Args)]
pub(crate) struct UcrRebuild {
    /// The table, or the `table_id` of its data source.
    pub(crate) table: String,
    /// The pillow, where several have the table.
    #[arg(long)]
    pub(crate) pillow: Option<String>,
}

/// Arguments of `ucr vectors`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UcrVectors {
    /// Vectors, one JSON object a line.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// What runs them.
    #[arg(long, value_enum, default_value = "wasm")]
    pub(crate) through: Through,
    /// The row builder's module; the one that `make guests` built when absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
    /// An address of PostgreSQL, to run the vectors of kind `pillow` as well; in a schema `pillowtop_ucr_vectors`, which
    /// is dropped.
    #[arg(long, value_name = "URL", conflicts_with = "through")]
    pub(crate) database: Option<String>,
}

/// What runs test vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Through {
    /// The compiled module, as in a pipeline.
    Wasm,
    /// The same language within this program.
    Native,
}

fn parse_partition(text: &str) -> anyhow::Result<Partition> {
    let (topic, number) = text.rsplit_once(':').context("a partition is written TOPIC:NUMBER, such as form-sql:0")?;
    let number = number.parse().with_context(|| format!("`{number}` is no number of a partition"))?;
    Ok(Partition::new(topic, number))
}

/// Positions are printed as one or two numbers; a feed with tokens of its own resumes only from its own.
fn parse_position(text: &str) -> anyhow::Result<Position> {
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("`{text}` is no number from 0 on"));
    let order = match text.split_once(':') {
        Some((first, second)) => [number(first)?, number(second)?],
        None => [number(text)?, 0],
    };
    Ok(Position { order, token: None })
}
