#include "reader/forms.h"

namespace spnl::reader {
namespace {

template <class Message>
Value message(Interpreter& in, Call& call, const char* usage) {
  in.expect_count(call, 1, 1, usage);
  // Content that is only known when evaluated arrives as a user message already.
  if constexpr (std::is_same_v<Message, User>)
    if (auto* query = std::get_if<Query>(&call.values[0].data))
      if (std::holds_alternative<Fetch>(query->node) || std::holds_alternative<Ask>(query->node))
        return std::move(call.values[0]);
  Message node{};
  node.text = in.string(call.values[0]);
  return {Query{std::move(node), in.position(call)}, in.position(call)};
}

template <class Group>
Value group(Interpreter& in, Call& call) {
  Group node;
  for (Value& value : call.values) in.append_queries(value, node.children);
  return {Query{std::move(node), in.position(call)}, in.position(call)};
}

}  // namespace

Value build_user(Interpreter& in, Call& call) { return message<User>(in, call, "(user TEXT)"); }
Value build_system(Interpreter& in, Call& call) {
  return message<System>(in, call, "(system TEXT)");
}
Value build_assistant(Interpreter& in, Call& call) {
  return message<Assistant>(in, call, "(assistant TEXT)");
}
Value build_print(Interpreter& in, Call& call) { return message<Print>(in, call, "(print TEXT)"); }

Value build_ask(Interpreter& in, Call& call) {
  in.expect_count(call, 1, 1, "(ask PROMPT)");
  return {Query{Ask{in.string(call.values[0])}, in.position(call)}, in.position(call)};
}

Value build_seq(Interpreter& in, Call& call) { return group<Seq>(in, call); }
Value build_cross(Interpreter& in, Call& call) { return group<Cross>(in, call); }
Value build_plus(Interpreter& in, Call& call) { return group<Plus>(in, call); }
Value build_par(Interpreter& in, Call& call) { return group<Par>(in, call); }

Value build_zip(Interpreter& in, Call& call) {
  in.expect_count(call, 2, 2, "(zip FIRST SECOND)");
  QueryBox first(in.query(call.values[0])), second(in.query(call.values[1]));
  return {Query{Zip{std::move(first), std::move(second)}, in.position(call)}, in.position(call)};
}

Value build_monad(Interpreter& in, Call& call) {
  in.expect_count(call, 1, 1, "(monad QUERY)");
  return {Query{Monad{QueryBox(in.query(call.values[0]))}, in.position(call)}, in.position(call)};
}

}  // namespace spnl::reader
