/* spnl/backend.h: the whole contract between a host and a backend. C99, fixed-width types, UTF-8.
 *
 * Threads. Each function carries one tag:
 *   [setup]    serial per plugin           [model]  serial per model
 *   [session]  serial per session          [any]    may be called from several threads at once
 * Calls with different objects may overlap, whatever their tag. Events come only from inside step and
 * session_close, on the calling thread.
 *
 * Lifetime. A pointer that is handed over is valid for that call only, unless its line says otherwise. Nobody
 * frees the other side's memory: variable-size answers are written through a sink.
 *
 * Growth. Structs begin with struct_size, set by whoever fills them, and grow only at the end: read a field that
 * was added after minor 0 through SPNL_HAS. Zero means "not set". Enumerations travel as int32_t. spnl_str and
 * spnl_kv never grow. Optional features are extensions, all of one or none of it, found by id.
 *
 * State, host's duty: found, opened, model loaded, session open, stepping, and back in the same order. Closing
 * with a loaded model, or unloading with an open session, is a host bug. session_close while stepping is not
 * allowed; cancel while stepping is.
 *
 * Errors. Each call that can fail answers a status and, unless it is NULL, fills the caller's spnl_error. Nothing
 * is thrown across the line and nothing ends the process. An unknown status counts as SPNL_INTERNAL. */
#ifndef SPNL_BACKEND_H
#define SPNL_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPNL_ABI_MAJOR 1u /* in the entry symbol's name: spnl_backend_v1 */
#define SPNL_ABI_MINOR 1u
#define SPNL_ENTRY_SYMBOL "spnl_backend_v1"

/* Does the sender's struct reach as far as `field`? */
#define SPNL_HAS(type, pointer, field) ((pointer)->struct_size >= offsetof(type, field) + sizeof((pointer)->field))

typedef struct { const char *data; uint64_t len; } spnl_str; /* not 0-terminated; frozen */
typedef struct { spnl_str key, value; } spnl_kv;             /* frozen */

typedef int32_t spnl_status;
enum {
  SPNL_OK,
  SPNL_INVALID,     /* the caller's mistake */
  SPNL_NOT_FOUND,
  SPNL_UNSUPPORTED, /* never, for this model or plugin; the message names the missing word */
  SPNL_CANCELLED,
  SPNL_NO_MEMORY,
  SPNL_BUSY,        /* not now: step first, then ask again */
  SPNL_IO,
  SPNL_CORRUPT,     /* a file contradicts itself */
  SPNL_INTERNAL
};

/* The caller's; may be NULL. message is 0-terminated, one line: what, where, what to do. */
typedef struct { uint32_t struct_size; spnl_status code; char message[504]; } spnl_error;

/* How variable-size answers come back: write is called any number of times, in order. Not OK stops the call,
 * which then answers SPNL_CANCELLED. */
typedef struct {
  uint32_t struct_size, zero;
  void *user;
  spnl_status (*write)(void *user, const void *bytes, uint64_t n);
} spnl_sink;

typedef struct spnl_instance spnl_instance;
typedef struct spnl_model spnl_model;
typedef struct spnl_session spnl_session;

/* ---- what the host gives: lives from open() until close() returns; every function [any] ---- */

/* Receives the files of a model; local_path is absolute. */
typedef struct {
  uint32_t struct_size, zero;
  void *user;
  spnl_status (*file)(void *user, spnl_str logical_name, spnl_str local_path, uint64_t bytes);
} spnl_file_sink;

enum { SPNL_LOG_DEBUG, SPNL_LOG_INFO, SPNL_LOG_NOTE, SPNL_LOG_WARNING, SPNL_LOG_ERROR };

typedef struct {
  uint32_t struct_size, abi_minor;
  void *self;
  spnl_str name, version;
  void (*log)(void *self, int32_t level, spnl_str component, spnl_str text);
  /* Settings by name ("MISTRALRS_DEVICE", "threads"): flags, file and environment in one look-up.
   * SPNL_NOT_FOUND when unset. Plugins do not read the environment themselves. */
  spnl_status (*config)(void *self, spnl_str key, const spnl_sink *value);
  int32_t (*progress)(void *self, uint64_t op, spnl_str stage, uint64_t done, uint64_t total); /* nonzero: please stop */
  int32_t (*cancelled)(void *self, uint64_t op); /* cheap; poll it at least every 100 ms of long work */
  void *(*alloc)(void *self, uint64_t bytes, uint64_t align); /* counted; NULL when over the limit */
  void (*release)(void *self, void *pointer);
  /* The files of `model` (a name without this plugin's prefix, or a path) whose logical names match `glob`
   * ("*.gguf", "*.json", "*": all that belong to it). A GGUF repository gives the one file (or the parts of the one split file) that the
   * name selects; a folder gives its files. SPNL_NOT_FOUND says where it looked. */
  spnl_status (*resolve)(void *self, uint64_t op, spnl_str model, spnl_str glob, const spnl_file_sink *files,
                         spnl_error *error);
  const void *(*extension)(void *self, const char *id); /* "spnl.NAME/REV", or NULL */
} spnl_host;

/* ---- who the plugin is: static storage, equal to the manifest beside the library ---- */

#define SPNL_CAP_BULK_MAP (1ull << 0)        /* many submitted requests share steps */
#define SPNL_CAP_BULK_REPEAT (1ull << 1)     /* samples > 1 share one prefill */
#define SPNL_CAP_SPANS (1ull << 2)           /* INDEPENDENT groups are cached apart; without it the tree comes flattened */
#define SPNL_CAP_TOOLS (1ull << 3)
#define SPNL_CAP_VISION (1ull << 4)
#define SPNL_CAP_GRAMMAR (1ull << 5)
#define SPNL_CAP_EMBED (1ull << 6)
#define SPNL_CAP_UNLOADABLE (1ull << 7)      /* dlclose after close() is safe */
#define SPNL_CAP_BATCH_INVARIANT (1ull << 8) /* greedy tokens do not depend on batch mates */
#define SPNL_CAP_COMMUTATIVE (1ull << 9)     /* canonical order: the order of INDEPENDENT children changes nothing */

typedef struct {
  uint32_t struct_size;
  uint32_t minor_built;  /* for messages */
  uint32_t minor_needed; /* the host loads when this is <= its own minor */
  uint32_t n_prefixes;
  const spnl_str *prefixes; /* "mistralrs": what stands before the first '/' of a model name */
  spnl_str id, name, version, vendor, license;
  uint64_t caps;
} spnl_descriptor;

/* ---- models ---- */

typedef struct {
  uint32_t struct_size, n_options;
  uint64_t op;                    /* for progress, cancelled and resolve */
  spnl_str model, device, dtype;  /* model: without the prefix; device, dtype: empty for the plugin's choice */
  uint64_t max_context;           /* tokens; 0: the model's */
  uint64_t memory_limit;          /* bytes; 0: the plugin's choice */
  const spnl_kv *options;         /* "threads", "vocab_only" ("true": tokenizer and template, no weights), ... */
} spnl_load;

typedef struct {
  uint32_t struct_size, n_eos;
  const int32_t *eos;                    /* this and the strings live as long as the model */
  spnl_str architecture, device, dtype;
  uint64_t caps, context, vocab, embedding_dim, cache_block_tokens;
} spnl_model_info;

/* ---- structured prompts: fragments in pre-order; parent < own index, -1 for a top-level fragment ---- */

enum {
  SPNL_FRAG_MESSAGE,     /* role and text */
  SPNL_FRAG_TOKENS,      /* ids as they are, outside any template */
  SPNL_FRAG_BLOB,        /* bytes in `text` of type `mime` */
  SPNL_FRAG_ORDERED,     /* children depend on what comes before them */
  SPNL_FRAG_INDEPENDENT  /* children do not see each other */
};
enum {
  SPNL_ROLE_NONE, /* raw text, no template; a prompt is raw in whole or not at all */
  SPNL_ROLE_SYSTEM,
  SPNL_ROLE_USER,
  SPNL_ROLE_ASSISTANT,
  SPNL_ROLE_TOOL
};

#define SPNL_FRAG_SEES_PREFIX 1u   /* child of INDEPENDENT may attend to what precedes the group */
#define SPNL_FRAG_PIN 2u           /* keep its cache entry while memory allows */
#define SPNL_FRAG_NO_STORE 4u      /* one-time text: do not keep */
#define SPNL_FRAG_PARSE_SPECIAL 8u /* control tokens spelled in the text count; off for text from outside */

typedef struct {
  uint32_t struct_size, flags;
  int32_t kind, role, parent;
  uint32_t n_tokens;
  const int32_t *tokens;
  spnl_str text, mime;
  uint64_t content_hash[2]; /* 0,0: not computed */
  uint64_t lineage;         /* the sequence whose output this message is; 0: none */
  uint64_t next_use;        /* plan order of the next request that uses it; 0: unknown */
} spnl_fragment;

#define SPNL_PROMPT_NO_SPECIAL 1u   /* add no bos or eos of the tokenizer's own (templates always write theirs) */
#define SPNL_PROMPT_NO_GENERATION 2u /* render without the header that invites an answer */
typedef struct {
  uint32_t struct_size, n_fragments;
  const spnl_fragment *const *fragments;
  spnl_str tools_json;
  uint64_t flags;
} spnl_prompt;

/* ---- generation: submit, then step ---- */

/* `set` says which fields count: one bit per field, in the order of the fields. A backend answers SPNL_UNSUPPORTED to
 * bits that it does not know. */
#define SPNL_SET_TEMPERATURE (1ull << 0)
#define SPNL_SET_TOP_P (1ull << 1)
#define SPNL_SET_MIN_P (1ull << 2)
#define SPNL_SET_REPEAT_PENALTY (1ull << 3)
#define SPNL_SET_PRESENCE_PENALTY (1ull << 4)
#define SPNL_SET_FREQUENCY_PENALTY (1ull << 5)
#define SPNL_SET_TOP_K (1ull << 6)
#define SPNL_SET_MAX_TOKENS (1ull << 7) /* 0: until the model stops or its context is full */
#define SPNL_SET_TOP_LOGPROBS (1ull << 8)
#define SPNL_SET_STOPS (1ull << 9)
#define SPNL_SET_SEED (1ull << 10)
/* since minor 1: */
#define SPNL_SET_TYPICAL_P (1ull << 11)
#define SPNL_SET_PENALTY_WINDOW (1ull << 12)
#define SPNL_SET_MIN_TOKENS (1ull << 13)
#define SPNL_SET_LOGIT_BIASES (1ull << 14)
#define SPNL_SET_DRY (1ull << 15)
typedef struct { int32_t token; float bias; } spnl_logit_bias; /* frozen */
typedef struct {
  uint32_t struct_size, samples; /* samples 0 counts as 1 */
  uint64_t set;
  float temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty; /* temperature 0: greedy */
  int32_t top_k;
  uint32_t max_tokens, top_logprobs, n_stops;
  const spnl_str *stops;
  uint64_t seed; /* sample i of a request draws from (seed, i) alone */
  /* since minor 1: */
  float typical_p;        /* 1: off */
  int32_t penalty_window; /* most recent tokens that penalties look at; -1: all */
  uint32_t min_tokens;    /* no id that ends the answer before this many */
  uint32_t n_logit_biases;
  const spnl_logit_bias *logit_biases; /* added to the logits before anything else */
  /* DRY: a token that would make a repetition of n >= dry_allowed_length tokens longer loses
   * dry_multiplier * dry_base^(n - dry_allowed_length); no repetition reaches over a token that contains a breaker. */
  float dry_multiplier, dry_base;
  int32_t dry_allowed_length, dry_window; /* dry_window: most recent tokens searched; -1: all */
  uint32_t n_dry_breakers, zero;
  const spnl_str *dry_breakers;
} spnl_sampling;

#define SPNL_REQ_PREFILL_ONLY 1u /* fill the caches, no tokens, FINISH(LENGTH) */
enum { SPNL_SPAN_DEFAULT, SPNL_SPAN_EXACT, SPNL_SPAN_BLOCK, SPNL_SPAN_BLEND };
enum { SPNL_CONTEXT_DEFAULT, SPNL_CONTEXT_NONE, SPNL_CONTEXT_BOS, SPNL_CONTEXT_PREAMBLE, SPNL_CONTEXT_PREFIX, SPNL_CONTEXT_LINEAGE };
enum { SPNL_ORDER_DEFAULT, SPNL_ORDER_GIVEN, SPNL_ORDER_CANONICAL };

/* All of it is copied before submit returns. */
typedef struct {
  uint32_t struct_size, flags;
  uint64_t user_id; /* comes back with each event */
  const spnl_prompt *prompt;
  const spnl_sampling *sampling; /* NULL: the model's defaults */
  spnl_str grammar_kind, grammar;
  int32_t span_mode, span_context, span_order;
  uint32_t span_k; /* rows that `blend` computes again; 0: the default */
} spnl_request;

enum { SPNL_FIN_EOS, SPNL_FIN_STOP, SPNL_FIN_LENGTH, SPNL_FIN_CANCELLED, SPNL_FIN_ERROR, SPNL_FIN_TOOL_CALL };

/* Times: queue from submit to the first step that works on it; prefill until the last prompt token was evaluated;
 * first_token from submit; decode from the first to the last token. */
typedef struct {
  uint32_t struct_size, n_fragments;
  uint64_t prompt_tokens, cached_tokens, output_tokens, queue_ns, prefill_ns, first_token_ns, decode_ns;
  /* [n_fragments], by fragment of the prompt, a group's with all that is below it; may be NULL */
  const uint64_t *fragment_tokens, *fragment_cached;
  /* since minor 1: how INDEPENDENT fragments were evaluated, SPNL_SPAN_* and SPNL_CONTEXT_*; 0: there were none */
  int32_t span_mode, span_context;
} spnl_usage;

enum { SPNL_EV_TOKENS, SPNL_EV_FINISH };

/* Each sample gets any number of TOKENS, then exactly one FINISH, whatever happened. */
typedef struct {
  uint32_t struct_size;
  int32_t kind;
  uint64_t sequence, user_id;
  uint32_t sample, n_tokens, top_k;
  int32_t finish;
  const int32_t *tokens;
  const float *logprobs;                          /* [n_tokens] or NULL */
  spnl_str text;                                  /* whole UTF-8 characters only; may be empty; FINISH may carry the rest */
  const int32_t *top_ids; const float *top_logprobs; /* [n_tokens][top_k] */
  const spnl_usage *usage; const spnl_error *error;  /* both with FINISH; error with FIN_ERROR */
} spnl_event;

typedef struct {
  uint32_t struct_size, zero;
  void *user;
  int32_t (*event)(void *user, const spnl_event *event); /* nonzero: cancel this sequence */
} spnl_events;

typedef struct {
  uint32_t struct_size, running, waiting, zero;
  uint64_t prefill_tokens, decode_tokens, prefill_ns, decode_ns, cache_asked_tokens, cache_hit_tokens, bytes_weights,
      bytes_cache, bytes_cache_limit, bytes_scratch;
} spnl_stats;

/* No pointer of the table is NULL up to struct_size. */
typedef struct {
  uint32_t struct_size, zero;
  const spnl_descriptor *descriptor;
  /* [setup] `host` lives until close returns. */
  spnl_status (*open)(const spnl_host *host, spnl_instance **instance, spnl_error *error);
  /* [setup] Joins the plugin's threads and frees all. */
  void (*close)(spnl_instance *instance);
  /* [setup] */
  spnl_status (*model_load)(spnl_instance *instance, const spnl_load *load, spnl_model **model, spnl_error *error);
  /* [model] No session may be open. */
  void (*model_unload)(spnl_model *model);
  /* [any] */
  spnl_status (*model_info)(spnl_model *model, spnl_model_info *info, spnl_error *error);
  /* [any] ids: int32_t each. ends (may be NULL): one uint64_t per fragment, the number of ids up to its end. A
   * prompt of messages is rendered first. */
  spnl_status (*tokenize)(spnl_model *model, const spnl_prompt *prompt, const spnl_sink *ids, const spnl_sink *ends,
                          spnl_error *error);
  /* [any] Control tokens are spelled out; bytes that are no UTF-8 come as they are. */
  spnl_status (*detokenize)(spnl_model *model, const int32_t *ids, uint64_t n, const spnl_sink *text,
                            spnl_error *error);
  /* [any] The prompt's text after the chat template. SPNL_INVALID when the template refuses. */
  spnl_status (*render)(spnl_model *model, const spnl_prompt *prompt, const spnl_sink *text, spnl_error *error);
  /* [model] `events` is copied; its user pointer lives until session_close returns. */
  spnl_status (*session_open)(spnl_model *model, const spnl_events *events, spnl_session **session,
                              spnl_error *error);
  /* [session] SPNL_BUSY when the queue is full; SPNL_INVALID when the prompt alone exceeds the context. */
  spnl_status (*submit)(spnl_session *session, const spnl_request *request, uint64_t *sequence, spnl_error *error);
  /* [session] Works for about budget_ns, 0: one engine step; alive: sequences not finished yet. */
  spnl_status (*step)(spnl_session *session, uint64_t budget_ns, uint32_t *alive, spnl_error *error);
  /* [any] until session_close is called; idempotent. At most the running step's tokens come after it, then
   * FINISH(CANCELLED) in the next step. */
  spnl_status (*cancel)(spnl_session *session, uint64_t sequence);
  /* [session] Finishes what is alive (FINISH(CANCELLED)), then frees the session. */
  void (*session_close)(spnl_session *session);
  /* [any] */
  spnl_status (*stats)(spnl_model *model, spnl_stats *stats, spnl_error *error);
  /* [any] NULL for an unknown id, the same pointer for the same id. */
  const void *(*extension)(spnl_instance *instance, const char *id);
} spnl_backend;

/* The only exported symbol: no work, no allocation, no device touch. */
const spnl_backend *spnl_backend_v1(void);

/* ---- extensions ---- */

#define SPNL_EXT_EMBED "spnl.embed/1"
typedef struct {
  uint32_t struct_size, zero;
  /* [model] out: [n][embedding_dim], the caller's. */
  spnl_status (*embed)(spnl_model *model, const spnl_str *texts, uint32_t n, uint32_t flags, float *out,
                       spnl_usage *usage, spnl_error *error);
} spnl_embed_v1;

#define SPNL_EXT_SCORE "spnl.score/1"
typedef struct {
  uint32_t struct_size, zero;
  /* [model] Evaluates ids as they are. logprobs [n]: natural logarithm of each id's probability after those before
   * it, the first NaN. top_ids, top_logits [top_k]: the best next tokens after the last, raw logits, best first;
   * top_k <= vocab. log_sum_exp: of all raw logits after the last, so logprob = logit - log_sum_exp. */
  spnl_status (*score)(spnl_model *model, const int32_t *ids, uint64_t n, uint32_t top_k, float *logprobs,
                       int32_t *top_ids, float *top_logits, double *log_sum_exp, spnl_error *error);
} spnl_score_v1;

#ifdef __cplusplus
}
#endif
#endif
