// What an agent is given: its program, its options, its secrets; and what is refused.
#include "fencing/agent/agent_call.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "fencing/agent/redact.h"
#include "tests/unit/fencing/agent/fake_agents.h"

using namespace clusterd;
using namespace clusterd::fence_test;

namespace {

std::string problem(const FenceDevice& device, const FakeAgents& agents) {
  auto call = prepare_call(device, "status", "n1", agents.folder);
  return call.ok() ? "" : call.error().message;
}

bool mentions(const std::string& text, const std::string& part) {
  INFO(text);
  CHECK(text.find(part) != text.npos);
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("fence agent call: options, secrets, node name and action go to standard input") {
  FakeAgents agents;
  agents.agent("fence_x", "");
  const std::string file = agents.secret("password", "s3cret=\"#\n");
  const FenceDevice device{
      "fence_x", {{"ip", "192.0.2.1"}, {"plug", "4"}}, {{"password", file}}, {}};
  const auto call = prepare_call(device, "off", "n1", "relative:/nowhere:" + agents.folder);
  REQUIRE(call.ok());
  CHECK(call.value().program == agents.folder + "/fence_x");
  CHECK(call.value().input.view() ==
        "ip=192.0.2.1\nplug=4\npassword=s3cret=\"#\nnodename=n1\naction=off\n");
  REQUIRE(call.value().secrets.size() == 1);
  CHECK(call.value().secrets[0].view() == "s3cret=\"#");
}

TEST_CASE("fence agent call: no target argument is made up") {
  FakeAgents agents;
  agents.agent("fence_x", "");
  const auto call = prepare_call({"fence_x", {}, {}, {}}, "off", "n1", agents.folder);
  REQUIRE(call.ok());
  CHECK(call.value().input.view() == "nodename=n1\naction=off\n");
}

TEST_CASE("fence agent call: only installed programs named fence_ are run") {
  FakeAgents agents;
  agents.agent("fence_x", "");
  agents.agent("reboot", "");
  CHECK(problem({"fence_x", {}, {}, {}}, agents) == "");
  mentions(problem({"fence_y", {}, {}, {}}, agents), "not installed");
  for (const char* name : {"reboot", "../bin/sh", "fence_/../sh", "", "fence_x y", "/bin/sh"}) {
    mentions(problem({name, {}, {}, {}}, agents), "only agents named fence_");
  }
  REQUIRE(::chmod((agents.folder + "/fence_x").c_str(), 0644) == 0);
  mentions(problem({"fence_x", {}, {}, {}}, agents), "not installed");
}

TEST_CASE("fence agent call: an option cannot smuggle another line or take the call over") {
  FakeAgents agents;
  agents.agent("fence_x", "");
  const auto with = [&](const std::string& key, const std::string& value) {
    return problem({"fence_x", {{key, value}}, {}, {}}, agents);
  };
  CHECK(with("ip", "192.0.2.1") == "");
  mentions(with("ip", "x\naction=reboot"), "more than one line");
  mentions(with("ip", "x "), "white space");
  mentions(with("ip", "\"x\""), "quotes");
  mentions(with("action", "reboot"), "clusterd's");
  mentions(with("nodename", "n2"), "clusterd's");
  mentions(with("a=b", "c"), "not an option's name");
  mentions(with("#ip", "c"), "not an option's name");
  mentions(with("ip", std::string(50000, 'x')), "48 KiB");
}

TEST_CASE("fence agent call: a secret file that others may read is refused") {
  FakeAgents agents;
  agents.agent("fence_x", "");
  const auto with = [&](const std::string& path) {
    return problem({"fence_x", {}, {{"password", path}}, {}}, agents);
  };
  CHECK(with(agents.secret("good", "hidden-value\n")) == "");
  CHECK(with(agents.secret("windows", "hidden-value\r\n")) == "");
  for (const mode_t mode : {0640, 0604, 0660, 0610, 0677}) {
    const std::string text = with(agents.secret("open", "hidden-value", mode));
    mentions(text, "group or others");
    CHECK(text.find("hidden-value") == text.npos);
  }
  mentions(with(agents.folder + "/missing"), "No such file");
  mentions(with(agents.folder), "not a regular file");
  mentions(with(agents.secret("empty", "\n")), "empty");
  mentions(with(agents.secret("lines", "a\nb")), "more than one line");
  mentions(with(agents.secret("blank", "a \n")), "white space");
  mentions(with(agents.secret("large", std::string(5000, 'x'))), "4 KiB");
  const std::string owned = agents.secret("owned", "x");
  REQUIRE(::chown(owned.c_str(), 65534, 65534) == 0);  // tests run as root, as the daemon does
  mentions(with(owned), "owned by root");
  const std::string fifo = agents.folder + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  mentions(with(fifo), "not a regular file");  // and does not wait for a writer
}

TEST_CASE("fence agent call: an option given twice is refused") {
  FakeAgents agents;
  agents.agent("fence_x", "");
  const std::string file = agents.secret("p", "x");
  mentions(problem({"fence_x", {{"password", "y"}}, {{"password", file}}, {}}, agents),
           "also given");
}

TEST_CASE("redaction: a secret is hidden wherever it stands, also across reads and the cut") {
  std::vector<WipedText> secrets(2);
  secrets[0].append("hunter2");
  secrets[1].append("2hunt");
  OutputTail tail;
  for (const char c : std::string("login hunter2hunter2 failed")) tail.append({&c, 1});
  CHECK(tail.shown(secrets) == "login [hidden] failed");
  // The cut goes through a secret at every possible place.
  for (std::size_t fill = OutputTail::kShown - 30; fill < OutputTail::kShown + 10; ++fill) {
    OutputTail cut;
    cut.append("hunter2 hunter2 hunter2");
    cut.append(std::string(fill, '.'));
    const std::string shown = cut.shown(secrets);
    REQUIRE(shown.size() <= OutputTail::kShown + 3 * std::string("[hidden]").size());
    std::string rest = shown.substr(0, shown.find('.'));
    for (auto at = rest.find("[hidden]"); at != rest.npos; at = rest.find("[hidden]")) {
      rest.erase(at, 8);
    }
    REQUIRE(rest.find_first_not_of(' ') == rest.npos);
  }
}

TEST_CASE("redaction: what is kept is bounded") {
  OutputTail tail;
  for (int i = 0; i < 100; ++i) tail.append(std::string(100000, static_cast<char>('a' + i % 26)));
  CHECK(tail.shown({}) == std::string(OutputTail::kShown, 'v'));
}
