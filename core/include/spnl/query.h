#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace spnl {

/// Where in its source a node begins; 1-based, columns in code points; line 0: not from text.
struct SourcePosition {
  uint32_t line = 0, column = 0;
};

struct Query;

/// A vector of queries whose copying and destruction take constant stack, however deep the trees are.
struct QueryList : std::vector<Query> {
  QueryList();
  QueryList(std::initializer_list<Query> queries);
  QueryList(const QueryList& other);
  QueryList(QueryList&&) noexcept;
  QueryList& operator=(const QueryList& other);
  QueryList& operator=(QueryList&&) noexcept;
  ~QueryList();
};

/// Exactly one query, owned by value (a tree, not a graph): copying copies the tree. Constant stack as well. Empty only
/// after it was moved from.
class QueryBox {
 public:
  explicit QueryBox(Query query);
  QueryBox(const QueryBox& other);
  QueryBox(QueryBox&&) noexcept;
  QueryBox& operator=(const QueryBox& other);
  QueryBox& operator=(QueryBox&&) noexcept;
  ~QueryBox();
  Query& operator*() noexcept { return *query_; }
  const Query& operator*() const noexcept { return *query_; }
  Query* operator->() noexcept { return query_.get(); }
  const Query* operator->() const noexcept { return query_.get(); }

 private:
  std::unique_ptr<Query> query_;
};

// Leaves.
struct User { std::string text; };
struct System { std::string text; };
struct Assistant {
  std::string text;
  uint64_t lineage = 0;  ///< the backend's sequence that produced it; 0: written by a person
};
struct Print { std::string text; };  ///< shown to the person; yields nothing

// How children depend on each other.
struct Seq { QueryList children; };    ///< in order, each after the one before
struct Cross { QueryList children; };  ///< dependent: later content attends to earlier
struct Plus { QueryList children; };   ///< independent and commutative
struct Par { QueryList children; };    ///< evaluated at once, ordered

/// How a generate samples; empty: not given (the host's flags, then the language's defaults apply).
struct Sampling {
  std::optional<uint64_t> max_tokens;  ///< 0: no limit but the context; the language's default
  std::optional<double> temperature;   ///< 0: greedy; the language's default is 0.6
  std::optional<uint64_t> seed;
  std::optional<int64_t> top_k;
  std::optional<double> top_p, min_p, repeat_penalty;
  std::vector<std::string> stop;
  std::string spans;  ///< "exact", "block", "blend", "blend:K"; empty: not given
};

/// Whether `mode` is one of those; K has at most nine digits.
bool is_span_mode(std::string_view mode);

// New content from a model.
struct Generate {
  std::string model;  ///< "prefix/name"; empty: filled by the host's --model
  Sampling sampling;
  QueryBox input;
};
struct Repeat { uint32_t n; Generate generate; };  ///< n in 1..255 samples of one generate
struct Map { std::string model; Sampling sampling; std::vector<std::string> inputs; };

struct Zip { QueryBox first, second; };
struct Monad { QueryBox query; };  ///< evaluated for its effect; output ignored

// Read when evaluated.
struct Fetch {
  std::string location;
  bool named = false, binary = false;
  bool operator==(const Fetch&) const = default;
};
struct Ask { std::string prompt; };

/// What an augment searches: text, bytes (a PDF), or what a fetch will bring.
struct Document { std::string name; std::variant<std::string, std::vector<uint8_t>, Fetch> content; };
/// Stands for the fragments of the document that matter to the body.
struct Augment { std::string embedding_model; QueryBox body; Document document; };

/// One node of a query tree (shared/spec of the language, section 1).
struct Query {
  using Node = std::variant<User, System, Assistant, Print, Seq, Cross, Plus, Par, Generate, Repeat, Map, Zip, Monad,
                            Augment, Fetch, Ask>;
  Node node;
  SourcePosition position;
};

/// Equal trees: same nodes with the same contents; where they were written does not count.
bool operator==(const Query& a, const Query& b);

}  // namespace spnl
