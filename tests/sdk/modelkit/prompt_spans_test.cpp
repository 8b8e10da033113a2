// Spans of encoded prompts: borders, ids that do not depend on neighbours, order, and what real
// chat templates allow.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>

#include "prompt_fixture.h"
#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;

namespace {

constexpr int32_t kGroup = SPNL_FRAG_INDEPENDENT, kOrdered = SPNL_FRAG_ORDERED;
constexpr int32_t kRaw = SPNL_ROLE_NONE;

constexpr char kChatml[] =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' "
    "}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
// Its own system text when there is none.
constexpr char kInjecting[] =
    "{{ bos_token }}{% if messages[0]['role'] != 'system' %}{{ "
    "'<|im_start|>system\nhello<|im_end|>\n' }}{% endif %}{% for m in messages %}{{ "
    "'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}";
// Refuses system messages and roles that do not alternate; trims.
constexpr char kAlternating[] =
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' "
    "+ m['content'] | trim + '<|im_end|>\n' }}{% endfor %}";
constexpr char kNumbering[] =
    "{% for m in messages %}{{ loop.index ~ ': ' ~ m['content'] ~ '<|im_end|>\n' }}{% endfor %}";

using Ids = std::vector<int32_t>;

Ids slice(const EncodedPrompt& encoded, uint64_t begin, uint64_t end) {
  return {encoded.ids.begin() + static_cast<std::ptrdiff_t>(begin),
          encoded.ids.begin() + static_cast<std::ptrdiff_t>(end)};
}

std::string text_of(const Bench& bench, const EncodedPrompt& encoded, uint64_t begin,
                    uint64_t end) {
  return bench.tokenizer->decode(slice(encoded, begin, end), true);
}

std::vector<std::string> span_texts(const Bench& bench, const EncodedPrompt& encoded) {
  std::vector<std::string> texts;
  for (const EncodedSpan& span : encoded.spans)
    texts.push_back(text_of(bench, encoded, span.begin, span.end));
  return texts;
}

/// What must be true of every answer.
void check_shape(const EncodedPrompt& encoded) {
  std::vector<uint64_t> free_from(encoded.spans.size() + 1, 0);  // per parent, -1 first
  for (size_t i = 0; i < encoded.spans.size(); ++i) {
    const EncodedSpan& span = encoded.spans[i];
    BOOST_REQUIRE_LT(span.parent, static_cast<int32_t>(i));
    BOOST_REQUIRE_LE(span.begin, span.end);
    BOOST_TEST(span.text_begin <= span.text_end);
    BOOST_TEST(span.text_end <= span.end);
    if (span.text_begin < span.text_end) BOOST_TEST(span.begin <= span.text_begin);
    const uint64_t limit =
        span.parent < 0 ? encoded.ids.size() : encoded.spans[static_cast<size_t>(span.parent)].end;
    BOOST_TEST(span.end <= limit);
    uint64_t& from = free_from[static_cast<size_t>(span.parent + 1)];
    BOOST_TEST(span.begin >= from);
    from = span.end;
    free_from[i + 1] = span.begin;
    if (span.begin < span.end) BOOST_TEST(encoded.preamble <= span.begin);
  }
}

EncodedPrompt encode(const Bench& bench, Prompt& prompt, bool canonical = false) {
  EncodedPrompt encoded = bench.encoder->encode(prompt.get(), {.canonical_order = canonical});
  check_shape(encoded);
  return encoded;
}

/// A system message, then a group of user messages, then a question.
void documents(Prompt& prompt, const std::vector<std::string>& texts, bool system = true,
               bool question = true) {
  if (system) prompt.message(kSystem, "abc");
  const int32_t group = system ? 1 : 0;
  prompt.group(kGroup);
  for (const std::string& text : texts) prompt.message(kUser, text, 0, group);
  if (question) prompt.message(kUser, "hello");
}

std::string user(const std::string& text) { return "<|im_start|>user\n" + text + "<|im_end|>\n"; }

void check_texts(const std::vector<std::string>& got, const std::vector<std::string>& want) {
  BOOST_TEST(got == want, boost::test_tools::per_element());
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_message_is_a_span_with_its_header_and_end) {
  const Bench bench(kChatml);
  Prompt prompt;
  documents(prompt, {"one", "two"});
  prompt[2].flags = SPNL_FRAG_PIN | SPNL_FRAG_SEES_PREFIX;
  prompt[3].flags = SPNL_FRAG_NO_STORE;
  prompt[3].next_use = 7;
  const EncodedPrompt encoded = encode(bench, prompt);
  BOOST_TEST(encoded.spans_hold);
  BOOST_TEST(encoded.note == "");
  check_texts(span_texts(bench, encoded), {user("one"), user("two")});
  BOOST_TEST(text_of(bench, encoded, 0, encoded.preamble) == "<|im_start|>system\nabc<|im_end|>\n");
  BOOST_TEST(encoded.preamble == encoded.spans[0].begin);
  const EncodedSpan &one = encoded.spans[0], &two = encoded.spans[1];
  BOOST_TEST(one.group == 1);
  BOOST_TEST(one.fragment == 2u);
  BOOST_TEST((one.pin && one.sees_prefix && !one.no_store));
  BOOST_TEST((!two.pin && !two.sees_prefix && two.no_store));
  BOOST_TEST(two.next_use == 7u);
  BOOST_TEST(text_of(bench, encoded, two.text_begin, two.text_end) == "two");
  BOOST_TEST(encoded.ends[2] == one.end);
  BOOST_TEST(encoded.ends[1] == two.end);
  BOOST_TEST(bench.tokenizer->decode(encoded.ids, true) == bench.encoder->render(prompt.get()));
}

BOOST_AUTO_TEST_CASE(ids_of_a_span_do_not_depend_on_its_neighbours) {
  const Bench raw(nullptr), chat(kChatml);
  const std::vector<std::string> texts = {"a", "b", "ab", "c", "", "a", " hello", "hello "};
  std::map<std::string, Ids> seen_raw, seen_chat;
  const auto check = [](std::map<std::string, Ids>& seen, const std::string& text, Ids ids) {
    const auto [at, fresh] = seen.try_emplace(text, ids);
    BOOST_TEST(at->second == ids, boost::test_tools::per_element());
  };
  for (size_t turn = 0; turn < texts.size(); ++turn) {
    std::vector<std::string> order = texts;
    std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(turn), order.end());
    Prompt plain, messages;
    plain.raw("a").group(kGroup);
    for (const std::string& text : order) plain.message(kRaw, text, 0, 1);
    plain.raw("b");
    documents(messages, order);
    const EncodedPrompt a = encode(raw, plain), b = encode(chat, messages);
    BOOST_REQUIRE_EQUAL(a.spans.size(), texts.size());
    BOOST_REQUIRE_EQUAL(b.spans.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      check(seen_raw, order[i], slice(a, a.spans[i].begin, a.spans[i].end));
      check(seen_chat, order[i], slice(b, b.spans[i].begin, b.spans[i].end));
    }
    BOOST_TEST(raw.tokenizer->decode(a.ids, true) == raw.encoder->render(plain.get()));
    BOOST_TEST(chat.tokenizer->decode(b.ids, true) == chat.encoder->render(messages.get()));
  }
  check(seen_raw, "a", {raw.vocabulary.id("a")});  // not merged with the b after it
}

BOOST_AUTO_TEST_CASE(canonical_order_makes_all_orders_one) {
  for (const char* source : {kChatml, kAlternating}) {
    const Bench bench(source);
    std::vector<std::string> texts = {"a", "b", "b", "hello", "abc"};
    std::sort(texts.begin(), texts.end());
    std::set<Ids> canonical, given;
    do {
      Prompt prompt;
      documents(prompt, texts);
      const EncodedPrompt encoded = encode(bench, prompt, true);
      canonical.insert(encoded.ids);
      given.insert(encode(bench, prompt).ids);
      for (const EncodedSpan& span : encoded.spans) {
        BOOST_TEST(text_of(bench, encoded, span.text_begin, span.text_end) ==
                   texts[span.fragment - 2]);
        BOOST_TEST(encoded.ends[span.fragment] == span.end);
      }
    } while (std::next_permutation(texts.begin(), texts.end()));
    BOOST_TEST(canonical.size() == 1u);
    BOOST_TEST(given.size() == 60u);
  }
}

BOOST_AUTO_TEST_CASE(canonical_order_reaches_groups_inside_groups) {
  const Bench bench(kChatml);
  const auto nested = [&](bool swap_outer, bool swap_inner) {
    Prompt prompt;
    prompt.group(kGroup);
    int32_t next = 1;
    const auto inner = [&] {
      const int32_t ordered = next, group = next + 1;
      prompt.group(kOrdered, 0).group(kGroup, ordered);
      prompt.message(kUser, swap_inner ? "b" : "a", 0, group);
      prompt.message(kUser, swap_inner ? "a" : "b", 0, group);
      prompt.message(kAssistant, "c", 0, ordered);
      next += 5;
    };
    const auto single = [&] {
      prompt.message(kUser, "hello", 0, 0);
      next += 1;
    };
    swap_outer ? (single(), inner()) : (inner(), single());
    return encode(bench, prompt, true).ids;
  };
  const Ids ids = nested(false, false);
  for (const bool outer : {false, true}) {
    for (const bool inner : {false, true}) BOOST_TEST((nested(outer, inner) == ids));
  }
}

BOOST_AUTO_TEST_CASE(groups_inside_groups) {
  const Bench bench(kChatml);
  Prompt prompt;
  prompt.group(kGroup).group(kOrdered, 0).message(kUser, "a", 0, 1).group(kGroup, 1);
  prompt.message(kUser, "b", 0, 3).message(kUser, "c", 0, 3).message(kAssistant, "ab", 0, 1);
  prompt.message(kUser, "bc", 0, 0).message(kUser, "hello");
  const EncodedPrompt encoded = encode(bench, prompt);
  const std::string inner =
      user("a") + user("b") + user("c") + "<|im_start|>assistant\nab<|im_end|>\n";
  check_texts(span_texts(bench, encoded), {inner, user("b"), user("c"), user("bc")});
  BOOST_TEST(encoded.spans[1].parent == 0);
  BOOST_TEST(encoded.spans[2].parent == 0);
  BOOST_TEST(encoded.spans[3].parent == -1);
  BOOST_TEST(encoded.spans[1].group == 3);
  BOOST_TEST(encoded.spans[0].text_begin == encoded.spans[0].text_end);  // no single message
  BOOST_TEST(encoded.preamble == 0u);
}

BOOST_AUTO_TEST_CASE(one_turn_around_several_fragments_is_shared) {
  const Bench bench(kAlternating);
  Prompt before, last, first;
  documents(before, {"one", "two"});
  documents(last, {"one", "two"}, true, false);
  documents(first, {"one", "two"}, false);
  const EncodedPrompt a = encode(bench, before), b = encode(bench, last), c = encode(bench, first);
  for (const EncodedPrompt* encoded : {&a, &b, &c}) {
    BOOST_TEST(encoded->spans_hold);
    check_texts(span_texts(bench, *encoded), {"one", "two"});
  }
  BOOST_TEST(text_of(bench, a, 0, a.preamble) == "<s><|im_start|>user\nabc\n\n");
  BOOST_TEST(text_of(bench, a, a.spans[0].end, a.spans[1].begin) == "\n\n");
  BOOST_TEST(text_of(bench, b, 0, b.preamble) == "<s><|im_start|>user\nabc\n\n");
  BOOST_TEST(text_of(bench, c, 0, c.preamble) == "<s>");
  BOOST_TEST(bench.tokenizer->decode(a.ids, true) == bench.encoder->render(before.get()));
}

BOOST_AUTO_TEST_CASE(a_preamble_that_the_template_brings) {
  const Bench bench(kInjecting);
  Prompt without, with, turns;
  documents(without, {"one", "two"}, false);
  documents(with, {"one", "two"});
  const EncodedPrompt a = encode(bench, without), b = encode(bench, with);
  BOOST_TEST(text_of(bench, a, 0, a.preamble) == "<s><|im_start|>system\nhello<|im_end|>\n");
  BOOST_TEST(text_of(bench, b, 0, b.preamble) == "<s><|im_start|>system\nabc<|im_end|>\n");
  turns.message(kSystem, "abc").message(kUser, "a").message(kAssistant, "b").group(kGroup);
  turns.message(kUser, "c", 0, 3);
  const EncodedPrompt c = encode(bench, turns);
  BOOST_TEST(c.preamble == b.preamble);
  BOOST_TEST(c.preamble < c.spans[0].begin);
}

BOOST_AUTO_TEST_CASE(fragments_without_text) {
  const Bench bench(kChatml);
  Prompt prompt;
  prompt.message(kSystem, "abc").group(kGroup).group(kOrdered, 1);
  prompt.message(kUser, "", 0, 1).message(kUser, "a", 0, 1).group(kOrdered, 1).group(kGroup);
  const EncodedPrompt encoded = encode(bench, prompt);
  BOOST_TEST(encoded.spans_hold);
  check_texts(span_texts(bench, encoded), {"", user(""), user("a"), ""});
  BOOST_TEST(text_of(bench, encoded, 0, encoded.preamble) == "<|im_start|>system\nabc<|im_end|>\n");
  Prompt merged;
  documents(merged, {"", "a", ""});
  const Bench alternating(kAlternating);
  const EncodedPrompt joined = encode(alternating, merged);
  BOOST_TEST(joined.spans_hold);
  check_texts(span_texts(alternating, joined), {"", "a", ""});
}

BOOST_AUTO_TEST_CASE(a_template_that_looks_at_places) {
  const Bench bench(kNumbering);
  Prompt prompt, flat;
  documents(prompt, {"one", "two"});
  flat.message(kSystem, "abc").message(kUser, "one").message(kUser, "two").message(kUser, "hello");
  const EncodedPrompt encoded = encode(bench, prompt);
  BOOST_TEST(!encoded.spans_hold);
  BOOST_TEST(encoded.note != "");
  BOOST_TEST(encoded.spans.empty());
  BOOST_TEST((encoded.ids == encode(bench, flat).ids));
  BOOST_TEST(encoded.ends[3] < encoded.ends[4]);
  BOOST_TEST(encode(bench, flat).spans_hold);
  Prompt swapped;  // one of the two orders is the canonical one backwards
  documents(swapped, {"two", "one"});
  BOOST_TEST(!encode(bench, prompt, true).spans_hold);
  BOOST_TEST(!encode(bench, swapped, true).spans_hold);
}

BOOST_AUTO_TEST_CASE(messages_with_a_lineage) {
  const Bench bench(kChatml);
  Prompt prompt;
  prompt.message(kUser, "a").message(kAssistant, "hello").message(kUser, "b");
  prompt[1].lineage = 5;
  prompt.group(kGroup).message(kAssistant, "ab", 0, 3);
  prompt[4].lineage = 6;
  const EncodedPrompt encoded = encode(bench, prompt);
  BOOST_REQUIRE_EQUAL(encoded.spans.size(), 2u);
  BOOST_TEST(encoded.spans[0].group == -1);
  BOOST_TEST(encoded.spans[0].lineage == 5u);
  BOOST_TEST(encoded.spans[1].group == 3);
  BOOST_TEST(encoded.spans[1].lineage == 6u);
  check_texts(span_texts(bench, encoded), {"<|im_start|>assistant\nhello<|im_end|>\n",
                                           "<|im_start|>assistant\nab<|im_end|>\n"});
  BOOST_TEST(text_of(bench, encoded, encoded.spans[0].text_begin, encoded.spans[0].text_end) ==
             "hello");
}

BOOST_AUTO_TEST_CASE(raw_prompts_keep_bos_out_of_spans) {
  const Bench bench(kChatml, true);
  Prompt prompt;
  prompt.group(kGroup).message(kRaw, "ab", 0, 0).message(kRaw, "", 0, 0).message(kRaw, "c", 0, 0);
  prompt.tokens({5, 6}).raw("hello");
  const EncodedPrompt encoded = encode(bench, prompt);
  BOOST_TEST(bench.count(encoded, "<s>") == 1u);
  BOOST_TEST(encoded.preamble == 1u);
  check_texts(span_texts(bench, encoded), {"ab", "", "c"});
  BOOST_TEST(encoded.spans[0].begin == 1u);
}

BOOST_AUTO_TEST_CASE(ids_as_fragments) {
  const Bench bench(kChatml);
  Prompt prompt;
  prompt.raw("a").group(kGroup).raw("b").raw("c");
  Ids ids = {7, 8, 9};
  for (const size_t i : {2u, 3u}) {
    prompt[i].parent = 1;
    prompt[i].kind = SPNL_FRAG_TOKENS;
    prompt[i].tokens = ids.data();
    prompt[i].n_tokens = i == 2 ? 3 : 1;
  }
  const EncodedPrompt encoded = encode(bench, prompt);
  BOOST_REQUIRE_EQUAL(encoded.spans.size(), 2u);
  BOOST_TEST((slice(encoded, encoded.spans[0].begin, encoded.spans[0].end) == ids));
  BOOST_TEST((slice(encoded, encoded.spans[1].begin, encoded.spans[1].end) == Ids{7}));
}

BOOST_AUTO_TEST_CASE(a_blank_before_a_text_only_where_the_prompt_begins) {
  TinyVocabulary v;
  v.data.model = "llama";
  for (const char* control : {"<unk>", "<s>", "</s>"}) v.add(control, 3);
  for (const char* text : {"\xE2\x96\x81", "a", "b",
                           "\xE2\x96\x81"
                           "a",
                           "ab"})
    v.add(text, 1, -1);
  v.data.unknown = 0;
  v.data.bos = 1;
  v.data.eos = 2;
  v.data.add_bos = false;
  const auto tokenizer = v.build();
  const PromptEncoder encoder(*tokenizer, nullptr);
  const int32_t a = v.id("a"), b = v.id("b"),
                blank_a = v.id(
                    "\xE2\x96\x81"
                    "a");
  Prompt spine_first, group_first;
  spine_first.raw("a").group(kGroup).message(kRaw, "a", 0, 1).message(kRaw, "b", 0, 1).raw("a");
  BOOST_TEST((encoder.encode(spine_first.get()).ids == Ids{blank_a, a, b, a}));
  group_first.group(kGroup).message(kRaw, "a", 0, 0).message(kRaw, "b", 0, 0);
  BOOST_TEST((encoder.encode(group_first.get()).ids == Ids{a, b}));
}

BOOST_AUTO_TEST_CASE(control_tokens_in_spans_stay_text) {
  const Bench bench(kChatml);
  Prompt prompt;
  documents(prompt, {"a<|im_end|>", "<|im_start|>", "b"});
  prompt[4].flags = kParse;
  const EncodedPrompt encoded = encode(bench, prompt);
  BOOST_TEST(bench.count(encoded, "<|im_end|>") == 5u);
  BOOST_TEST(bench.count(encoded, "<|im_start|>") == 6u);
}

BOOST_AUTO_TEST_CASE(deep_trees_do_not_exhaust_the_stack) {
  Prompt deep;
  for (int i = 0; i < 20000; ++i) deep.group(kGroup, i - 1);
  deep.message(kUser, "ab", 0, 19999);
  const Bench bench(kChatml);
  BOOST_TEST(encode(bench, deep, true).spans.size() == 20000u);
}

namespace {

/// A tree of random groups and texts; with `shuffle` the children of groups come in another order.
class RandomTree {
 public:
  RandomTree(uint32_t seed, bool raw) : seed_(seed), raw_(raw) {}

  std::unique_ptr<Prompt> build(uint32_t shuffle) {
    std::mt19937 shape(seed_);
    order_.seed(shuffle);
    shuffles_ = shuffle != 0;
    auto prompt = std::make_unique<Prompt>();
    n_ = 0;
    nodes_.clear();
    if (!raw_ && shape() % 2 == 0) nodes_.push_back({SPNL_FRAG_MESSAGE, kSystem, "abc", {}});
    for (uint32_t i = 1 + shape() % 4; i > 0; --i) nodes_.push_back(node(shape, 0));
    nodes_.push_back({SPNL_FRAG_MESSAGE, raw_ ? kRaw : kUser, "hello", {}});
    for (Node& one : nodes_) add(*prompt, one, -1);
    return prompt;
  }

 private:
  struct Node {
    int32_t kind, role;
    std::string text;
    std::vector<Node> children;
  };

  Node node(std::mt19937& shape, int depth) {
    static const char* const kTexts[] = {"a",  "b", " ab", "hello\n", "",           " ",
                                         "bc", "c", "\n",  "a\n\nb",  "<|im_end|>", "<user>"};
    if (depth < 3 && shape() % 3 == 0) {
      Node group{shape() % 2 == 0 ? kGroup : kOrdered, kRaw, "", {}};
      for (uint32_t i = shape() % 4; i > 0; --i) group.children.push_back(node(shape, depth + 1));
      return group;
    }
    const int32_t role = raw_ ? kRaw : shape() % 4 == 0 ? kAssistant : kUser;
    return {SPNL_FRAG_MESSAGE, role, kTexts[shape() % std::size(kTexts)], {}};
  }

  void add(Prompt& prompt, Node& node, int32_t parent) {
    const int32_t index = n_++;
    prompt.add(node.kind, node.role, node.text, parent);
    if (node.kind == kGroup && shuffles_)
      std::shuffle(node.children.begin(), node.children.end(), order_);
    for (Node& child : node.children) add(prompt, child, index);
  }

  const uint32_t seed_;
  const bool raw_;
  std::mt19937 order_;
  bool shuffles_ = false;
  int32_t n_ = 0;
  std::vector<Node> nodes_;
};

/// The texts of spans, sorted: of those with spans inside them only that they are there.
std::vector<std::string> leaf_texts(const Bench& bench, const EncodedPrompt& encoded) {
  std::vector<std::string> texts = span_texts(bench, encoded);
  for (const EncodedSpan& span : encoded.spans)
    if (span.parent >= 0) texts[static_cast<size_t>(span.parent)] = "nested";
  std::sort(texts.begin(), texts.end());
  return texts;
}

}  // namespace

BOOST_AUTO_TEST_CASE(random_trees) {
  size_t held = 0, refused = 0;
  for (const char* source :
       {kChatml, kInjecting, kAlternating, static_cast<const char*>(nullptr)}) {
    const Bench bench(source, source == kInjecting);
    for (uint32_t seed = 1; seed <= 150; ++seed) {
      for (const bool raw : {false, true}) {
        BOOST_TEST_CONTEXT((source == nullptr ? "no template" : source) << " seed " << seed) {
          RandomTree tree(seed, raw);
          const auto prompt = tree.build(0), other = tree.build(seed);
          EncodedPrompt encoded, shuffled;
          try {
            encoded = encode(bench, *prompt);
            shuffled = encode(bench, *other);
          } catch (const Error& error) {  // the roles don't alternate however they are joined
            BOOST_REQUIRE((error.code() == ErrorCode::kInvalid));
            ++refused;
            continue;
          }
          std::string text = bench.tokenizer->decode(encoded.ids, true);
          if (raw && source == kInjecting) text.erase(0, 3);  // bos
          BOOST_TEST(text == bench.encoder->render(prompt->get()));
          BOOST_TEST(encoded.spans_hold == encoded.note.empty());
          if (!encoded.spans_hold || !shuffled.spans_hold) continue;
          held += encoded.spans.empty() ? 0 : 1;
          BOOST_TEST(leaf_texts(bench, encoded) == leaf_texts(bench, shuffled),
                     boost::test_tools::per_element());
          BOOST_TEST((encode(bench, *prompt, true).ids == encode(bench, *other, true).ids));
        }
      }
    }
  }
  BOOST_TEST(held > 300u);
  BOOST_TEST(refused < 150u);
}

namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Templates in the shared folder when it is there, and in the fixtures.
std::vector<std::filesystem::path> templates() {
  std::vector<std::filesystem::path> found;
  for (const auto& folder : {std::filesystem::path(SPNL_TEST_FIXTURES_DIR) / "chat-templates",
                             std::filesystem::path(SPNL_SHARED_DIR) / "data/chat-templates"}) {
    if (!std::filesystem::exists(folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".jinja") found.push_back(entry.path());
    }
  }
  return found;
}

/// Templates that give user messages no text of their own: they end a conversation with
/// instructions, join messages themselves, or need variables that we do not give.
const std::set<std::string> kOrderBound = {"CohereForAI-c4ai-command-r-plus-tool_use.jinja",
                                           "CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja",
                                           "deepseek-ai-DeepSeek-V4-Flash-0731.jinja",
                                           "fireworks-ai-llama-3-firefunction-v2.jinja"};

}  // namespace

BOOST_AUTO_TEST_CASE(chat_templates_of_models) {
  size_t n = 0;
  for (const auto& path : templates()) {
    BOOST_TEST_CONTEXT(path.filename()) {
      const std::string source = read(path);
      const Bench bench(source.c_str());
      for (const bool system : {true, false}) {
        for (const bool question : {true, false}) {
          Prompt prompt, reversed;
          documents(prompt, {"zq1", "zq2", "zq3"}, system, question);
          documents(reversed, {"zq3", "zq2", "zq1"}, system, question);
          EncodedPrompt encoded, backwards;
          try {
            encoded = encode(bench, prompt);
            backwards = encode(bench, reversed);
          } catch (const Error& error) {
            BOOST_TEST(kOrderBound.count(path.filename().string()) == 1u, error.what());
            continue;
          }
          BOOST_TEST(bench.tokenizer->decode(encoded.ids, true) ==
                     bench.encoder->render(prompt.get()));
          BOOST_TEST(encoded.spans_hold == (kOrderBound.count(path.filename().string()) == 0));
          BOOST_TEST(encoded.spans_hold == encoded.note.empty());
          if (!encoded.spans_hold) continue;
          std::vector<std::string> texts = span_texts(bench, backwards);
          std::reverse(texts.begin(), texts.end());
          check_texts(span_texts(bench, encoded), texts);
          BOOST_TEST(encoded.preamble == backwards.preamble);
          const std::string preamble = text_of(bench, encoded, 0, encoded.preamble);
          BOOST_TEST((preamble.find("abc") != std::string::npos) == system);
          BOOST_TEST(preamble.find("zq1") == std::string::npos);
          Prompt shuffled;
          documents(shuffled, {"zq2", "zq1", "zq3"}, system, question);
          BOOST_TEST((encode(bench, prompt, true).ids == encode(bench, shuffled, true).ids));
          ++n;
        }
      }
    }
  }
  BOOST_TEST(n >= 8u);
}
