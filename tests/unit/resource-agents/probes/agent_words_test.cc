// What a guest's agent says, read without believing it.
#include "resource-agents/probes/agent_words.h"

#include <catch2/catch.hpp>

#include "clusterd/base/prng.h"

using namespace clusterd;
using namespace clusterd::probes;

namespace {

bool is_pid(const std::string& text, std::int64_t pid) {
  const auto answer = read_pid(text);
  const auto* found = std::get_if<std::int64_t>(&answer);
  return found != nullptr && *found == pid;
}
bool garbage(const std::string& text) {
  const auto pid = read_pid(text);
  const auto status = read_status(text);
  return std::holds_alternative<AgentFailure>(pid) && std::holds_alternative<AgentFailure>(status);
}

}  // namespace

TEST_CASE("probes: base64 is decoded as far as it goes") {
  CHECK(decode_base64("") == "");
  CHECK(decode_base64("Zg==") == "f");
  CHECK(decode_base64("Zm8=") == "fo");
  CHECK(decode_base64("Zm9v") == "foo");
  CHECK(decode_base64("Zm9vYmFy") == "foobar");
  CHECK(decode_base64("Zm9v!mFy") == "foo");
  CHECK(decode_base64("//79") == "\xff\xfe\xfd");
}

TEST_CASE("probes: only the numbers of the reply itself are taken") {
  CHECK(is_pid(R"({"return":{"pid":42}})", 42));
  CHECK(is_pid(R"({"id":1,"return":{"x":{"pid":7},"pid":42,"y":[{"pid":8}]}})", 42));
  CHECK(garbage(R"({"pid":42})"));
  CHECK(garbage(R"({"other":{"pid":42}})"));
  CHECK(garbage(R"({"return":{"x":{"pid":42}}})"));
  CHECK(garbage(R"({"return":{"pid":42})"));
  CHECK(garbage(R"({"return":{"pid":18446744073709551615}})"));
  CHECK(garbage(""));
  CHECK(garbage("[]"));
  CHECK(garbage(std::string(100000, '{')));
}

TEST_CASE("probes: of long output the end is shown") {
  std::string text;  // base64 of (3 bytes) * n: "aaa" ... "zzz"
  for (int i = 0; i < 100000; ++i) text += "YWFh";
  text += "CnRoZSBlbmQK";  // "\nthe end\n"
  const auto answer =
      read_status(R"({"return":{"exited":true,"exitcode":0,"out-data":")" + text + "\"}}");
  const auto& status = std::get<ExecStatus>(answer);
  CHECK(status.words == "the end");
}

TEST_CASE("probes: noise from an agent is never taken for success") {
  Prng prng(11);
  const std::string good = R"({"return":{"exited":true,"exitcode":1,"out-data":"Zm9v"}})";
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (int n = 0; n < 3; ++n) {
      text[prng.below(text.size())] = static_cast<char>(prng.below(256));
    }
    const auto answer = read_status(text);
    const auto* status = std::get_if<ExecStatus>(&answer);
    if (status != nullptr && status->words.size() > 160) FAIL("too long");
  }
}
