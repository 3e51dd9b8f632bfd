// AgentFencer with well-behaved agents: what a fence, a reading, a power-on and a test do.
#include "fencing/agent/agent_fencer.h"

#include <catch2/catch.hpp>

#include "fencing/agent/fence_test.h"
#include "tests/unit/fencing/agent/fake_agents.h"

using namespace clusterd;
using namespace clusterd::fence_test;

namespace {

using Calls = std::vector<std::string>;

struct Fixture {
  FakeAgents agents;
  PowerSink sink;
  AgentFencer fencer{sink, {agents.folder, Duration(10)}};

  PowerOperationEnded run(const DispatchPower& what) {
    fencer.operate(what);
    return sink.power(what.op.index.value);
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "fencer: a fence is off, then a status that says off") {
  agents.agent("fence_good", "good");
  const auto ended = run(order(PowerOpKind::fence, {{device("bmc", "fence_good")}}));
  CHECK(ended.outcome == Outcome::done);
  CHECK(ended.target == NodeId(3));
  CHECK(ended.level == Calls{"bmc"});
  CHECK(ended.readings == std::map<std::string, Power>{{"bmc", Power::off}});
  CHECK(ended.detail == "");
  CHECK(agents.calls() == Calls{"off bmc", "end off bmc", "status bmc", "end status bmc"});
  CHECK(agents.read("input").starts_with("dev=bmc\nnodename=n3\naction=off\n"));
}

TEST_CASE_METHOD(Fixture, "fencer: a host that is off already is fenced, whatever off returns") {
  agents.agent("fence_picky",
               "if [ $action = off ]; then echo already off >&2; exit 1; fi\ngood");
  agents.state("bmc", "off");
  CHECK(run(order(PowerOpKind::fence, {{device("bmc", "fence_picky")}})).outcome == Outcome::done);
}

TEST_CASE_METHOD(Fixture,
                 "fencer: an off that claims success while the power stays on is no fence") {
  agents.agent("fence_liar", "if [ $action = off ]; then exit 0; fi\ngood");
  const auto ended = run(order(PowerOpKind::fence, {{device("bmc", "fence_liar")}}, 1, 2));
  CHECK(ended.outcome == Outcome::unknown);
  CHECK(ended.readings.at("bmc") == Power::on);
  CHECK(ended.detail == "bmc still says on");
  CHECK(agents.count("status bmc") == 3);  // a device may lag behind, so the pass is repeated
  CHECK(agents.count("off bmc") == 1);
}

TEST_CASE_METHOD(Fixture,
                 "fencer: all devices of a level must say off in one pass after the last off") {
  agents.agent("fence_slow", "if [ $action = off ]; then sleep 0.3; fi\ngood");
  agents.agent("fence_good", "good");
  const auto ended = run(order(
      PowerOpKind::fence, {{device("pdu-a", "fence_good"), device("pdu-b", "fence_slow")}}));
  CHECK(ended.outcome == Outcome::done);
  CHECK(ended.level == Calls{"pdu-a", "pdu-b"});
  const Calls calls = agents.calls();
  const auto at = [&](const std::string& call) {
    return std::find(calls.begin(), calls.end(), call) - calls.begin();
  };
  CHECK(at("end off pdu-b") < at("status pdu-a"));
  CHECK(at("end off pdu-b") < at("status pdu-b"));
}

TEST_CASE_METHOD(Fixture,
                 "fencer: one of two supplies back on is no fence, and the pass is whole") {
  // The other device's status comes with a switched-on pdu-a, as by an operator's hand; pdu-a is
  // read after that, although a level's devices are asked at the same time.
  agents.agent("fence_a",
               "if [ $action = status ]; then\n"
               "  until grep -q on state.pdu-a; do sleep 0.01; done\n"
               "fi\ngood");
  agents.agent("fence_b", "if [ $action = status ]; then echo on > state.pdu-a; fi\ngood");
  const auto ended = run(order(
      PowerOpKind::fence, {{device("pdu-a", "fence_a"), device("pdu-b", "fence_b")}}, 1, 1));
  CHECK(ended.outcome == Outcome::unknown);
  CHECK(agents.count("status pdu-a") == 2);
  CHECK(agents.count("status pdu-b") == 2);
}

TEST_CASE_METHOD(Fixture, "fencer: when a level fails the next one is tried") {
  agents.agent("fence_dead", "echo unreachable >&2; exit 1");
  agents.agent("fence_good", "good");
  const auto ended = run(order(PowerOpKind::fence, {{device("bmc", "fence_dead")},
                                                    {device("pdu-a", "fence_good"),
                                                     device("pdu-b", "fence_good")}}));
  CHECK(ended.outcome == Outcome::done);
  CHECK(ended.level == Calls{"pdu-a", "pdu-b"});
  CHECK(ended.readings == std::map<std::string, Power>{{"bmc", Power::unknown},
                                                       {"pdu-a", Power::off},
                                                       {"pdu-b", Power::off}});
}

TEST_CASE_METHOD(Fixture, "fencer: a silent device with a level behind it is not asked twice") {
  agents.agent("fence_mute", "sleep 60");
  agents.agent("fence_good", "good");
  const auto ended = run(
      order(PowerOpKind::fence,
            {{device("bmc", "fence_mute", Duration(2000))}, {device("pdu", "fence_good")}}, 1, 2));
  CHECK(ended.outcome == Outcome::done);
  CHECK(agents.count("off bmc") == 1);
  CHECK(agents.count("status bmc") == 0);
}

TEST_CASE_METHOD(Fixture, "fencer: no level, or a level without devices, proves nothing") {
  auto ended = run(order(PowerOpKind::fence, {}));
  CHECK(ended.outcome == Outcome::failed_without_effect);
  CHECK(ended.detail == "no fence device is declared for n3");
  ended = run(order(PowerOpKind::fence, {{}}, 2));
  CHECK(ended.outcome == Outcome::failed_without_effect);
  CHECK(ended.level.empty());
}

TEST_CASE_METHOD(Fixture, "fencer: a failure in passing is retried as often as ordered") {
  agents.agent("fence_flaky", R"(
echo x >> tries.$action
if [ $(wc -l < tries.$action) -le 2 ]; then echo busy >&2; exit 1; fi
good)");
  auto ended = run(order(PowerOpKind::fence, {{device("bmc", "fence_flaky")}}, 1, 2));
  CHECK(ended.outcome == Outcome::done);
  CHECK(agents.count("off bmc") == 3);
  CHECK(agents.count("status bmc") == 3);
}

TEST_CASE_METHOD(Fixture, "fencer: what cannot be started at all is without effect") {
  agents.agent("fence_good", "good");
  NamedDevice bad = device("bmc", "fence_good");
  bad.device.secrets["password"] = agents.secret("open", "x", 0644);
  auto ended = run(order(PowerOpKind::fence, {{bad}, {device("pdu", "fence_absent")}}, 1, 3));
  CHECK(ended.outcome == Outcome::failed_without_effect);
  CHECK(ended.detail.find("group or others") != std::string::npos);
  CHECK(ended.detail.find("fence_absent is not installed") != std::string::npos);
  CHECK(agents.calls().empty());
}

TEST_CASE_METHOD(Fixture, "fencer: a reading asks the first level once and changes nothing") {
  agents.agent("fence_good", "good");
  agents.agent("fence_dead", "exit 1");
  agents.state("b", "off");
  auto ended = run(order(PowerOpKind::read_power,
                         {{device("a", "fence_good"), device("b", "fence_good")},
                          {device("c", "fence_good")}}));
  CHECK(ended.outcome == Outcome::done);
  CHECK(ended.level == Calls{"a", "b"});
  CHECK(ended.readings == std::map<std::string, Power>{{"a", Power::on}, {"b", Power::off}});
  CHECK(agents.calls().size() == 4);

  ended = run(order(PowerOpKind::read_power,
                    {{device("a", "fence_good"), device("d", "fence_dead")}}, 2, 1));
  CHECK(ended.outcome == Outcome::unknown);
  CHECK(ended.readings.at("a") == Power::on);
  CHECK(ended.readings.at("d") == Power::unknown);
  CHECK(agents.count("status a") == 2);  // one each: only the other was asked again
  CHECK(agents.count("status d") == 2);
  CHECK(ended.detail == "d: status ended with exit code 1");
}

TEST_CASE_METHOD(Fixture, "fencer: power-on is done when the first level says on") {
  agents.agent("fence_good", "good");
  agents.agent("fence_stuck", "if [ $action = on ]; then exit 0; fi\ngood");
  agents.state("a", "off");
  agents.state("b", "off");
  CHECK(run(order(PowerOpKind::power_on, {{device("a", "fence_good")}})).outcome == Outcome::done);
  CHECK(agents.read("state.a") == "on\n");
  const auto ended = run(order(PowerOpKind::power_on, {{device("b", "fence_stuck")}}, 2));
  CHECK(ended.outcome == Outcome::unknown);
  CHECK(ended.detail == "b still says off");
}

TEST_CASE_METHOD(Fixture, "fencer: operations on several hosts run side by side") {
  // Each agent waits for the other: one after the other they would both time out.
  agents.agent("fence_pair", R"(
touch here.$dev
for i in $(seq 500); do [ $(ls here.* | wc -l) = 2 ] && break; sleep 0.01; done
[ $(ls here.* | wc -l) = 2 ] || exit 1
good)");
  fencer.operate(order(PowerOpKind::fence, {{device("x", "fence_pair")}}, 1));
  fencer.operate(order(PowerOpKind::fence, {{device("y", "fence_pair")}}, 2));
  CHECK(sink.power(1).outcome == Outcome::done);
  CHECK(sink.power(2).outcome == Outcome::done);
}

TEST_CASE_METHOD(Fixture, "fencer: two calls to one device, or to one address, never overlap") {
  agents.agent("fence_one",
               "mkdir busy || { touch overlap; exit 1; }\nsleep 0.05\nrmdir busy\ngood");
  NamedDevice a = device("outlet-a", "fence_one");
  NamedDevice b = device("outlet-b", "fence_one");
  a.device.options["ip"] = b.device.options["ip"] = "192.0.2.9";
  for (std::uint64_t op = 1; op <= 6; ++op) {
    fencer.operate(order(PowerOpKind::read_power, {{op % 2 == 0 ? a : b}}, op));
  }
  for (std::uint64_t op = 1; op <= 6; ++op) CHECK(sink.power(op).outcome == Outcome::done);
  CHECK(agents.read("overlap").empty());
  CHECK_FALSE(std::filesystem::exists(agents.folder + "/overlap"));
}

TEST_CASE_METHOD(Fixture, "fencer: a reading gives way to a fence of the same device") {
  agents.agent("fence_hang", R"(
if [ $action = status ] && [ ! -e state.bmc ]; then touch reading; sleep 60; fi
good)");
  fencer.operate(order(PowerOpKind::read_power, {{device("bmc", "fence_hang")}}, 1));
  REQUIRE(eventually([&] { return std::filesystem::exists(agents.folder + "/reading"); }));
  fencer.operate(order(PowerOpKind::fence, {{device("bmc", "fence_hang")}}, 2));
  CHECK(sink.power(2).outcome == Outcome::done);
  const auto reading = sink.power(1);
  CHECK(reading.outcome == Outcome::unknown);
  CHECK(reading.detail == "bmc: status gave way to a fence");
}

TEST_CASE_METHOD(Fixture, "fencer: a test tells of every device of every node") {
  agents.agent("fence_good", "good");
  agents.agent("fence_dead", "echo 'no \"route\"' >&2; exit 1");
  agents.state("bmc-n2", "off");
  NamedDevice open = device("pdu", "fence_good");
  open.device.secrets["password"] = agents.secret("open", "x", 0644);
  RunFenceTest what;
  what.client = ClientId(7);
  what.nodes["n1"] = {{device("bmc-n1", "fence_good")}, {device("bmc-n1", "fence_good"), open}};
  what.nodes["n2"] = {{device("bmc-n2", "fence_good"), device("dead", "fence_dead")}};
  fencer.test(what);
  FenceTestEnded ended = sink.test();
  CHECK(ended.client == ClientId(7));
  CHECK_FALSE(ended.ok);
  for (auto at = ended.json.find("\"seconds\":"); at != ended.json.npos;
       at = ended.json.find("\"seconds\":", at + 1)) {
    const auto comma = ended.json.find(',', at);
    ended.json.replace(at + 10, comma - at - 10, "S");
  }
  CHECK(ended.json ==
        R"({"nodes":[{"node":"n1","devices":[)"
        R"({"device":"bmc-n1","power":"on","ok":true,"seconds":S,"problem":""},)"
        R"({"device":"pdu","power":"unknown","ok":false,"seconds":S,"problem":)"
        R"("pdu: status was not started: password: secret file )" +
            agents.folder + R"j(/open must not be accessible to group or others (chmod 600)"}]},)j"
        R"({"node":"n2","devices":[)"
        R"({"device":"bmc-n2","power":"off","ok":true,"seconds":S,"problem":""},)"
        R"({"device":"dead","power":"unknown","ok":false,"seconds":S,"problem":)"
        R"("dead: status ended with exit code 1: no \"route\""}]}]})");
  CHECK(agents.count("status bmc-n1") == 1);
}

TEST_CASE_METHOD(Fixture, "fencer: a test of many nodes asks few at a time and leaves nobody out") {
  agents.agent("fence_count", R"(
touch now.$dev; ls now.* | wc -l >> seen; sleep 0.05; rm now.$dev; good)");
  RunFenceTest what;
  for (int i = 0; i < 24; ++i) {
    const std::string node = "n" + std::to_string(i);
    what.nodes[node] = {{device("bmc-" + node, "fence_count")}};
  }
  fencer.test(what);
  CHECK(sink.test().ok);
  std::istringstream seen(agents.read("seen"));
  for (std::size_t together = 0; seen >> together;) CHECK(together <= CallRunner::kQuietCalls);
}

TEST_CASE("fence test: JSON strings are escaped") {
  CHECK(json_string("a\"b\\c\n\x01\x7f\xff") == "\"a\\\"b\\\\c\\u000a\\u0001??\"");
}
