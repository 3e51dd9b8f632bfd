#include "resource-agents/libvirt/guard_files.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "resource-agents/libvirt/process_scan.h"

using namespace clusterd;
using namespace clusterd::libvirt;

namespace {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/clusterd-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

VmId vm() {
  return VmId{*Uuid::parse("11111111-2222-3333-4444-555555555555")};
}
OpId op(std::uint64_t index) {
  return OpId{Epoch(1), LogIndex(index)};
}

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("grants: a grant carries its operation and is readable by root alone") {
  const TemporaryDirectory run;
  Grants grants(run.path());
  REQUIRE(grants.issue(vm(), op(5)).ok());
  const std::string path = run.path() + "/grants/" + vm().str();
  CHECK(content(path) == "1.5\n");
  struct stat found {};
  REQUIRE(::stat(path.c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0600);
  REQUIRE(grants.revoke(vm(), op(5)).ok());
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("grants: after a revocation the operation can get none, however late it asks") {
  const TemporaryDirectory run;
  Grants grants(run.path());
  REQUIRE(grants.revoke(vm(), op(5)).ok());
  CHECK_FALSE(grants.issue(vm(), op(5)).ok());
  CHECK_FALSE(grants.issue(vm(), op(4)).ok());
  CHECK(grants.issue(vm(), op(6)).ok());
}

TEST_CASE("grants: a late clean-up of an old start leaves the new grant alone") {
  const TemporaryDirectory run;
  Grants grants(run.path());
  REQUIRE(grants.issue(vm(), op(5)).ok());
  REQUIRE(grants.issue(vm(), op(6)).ok());
  REQUIRE(grants.revoke(vm(), op(5)).ok());
  CHECK(content(run.path() + "/grants/" + vm().str()) == "1.6\n");
}

TEST_CASE("grants: one left by an earlier daemon is taken back") {
  const TemporaryDirectory run;
  REQUIRE(Grants(run.path()).issue(vm(), op(9)).ok());
  Grants restarted(run.path());
  REQUIRE(restarted.revoke(vm(), op(9)).ok());
  CHECK_FALSE(std::filesystem::exists(run.path() + "/grants/" + vm().str()));
}

TEST_CASE("grants: a new daemon begins without any") {
  const TemporaryDirectory run;
  CHECK(Grants(run.path()).clear().ok());  // no directory yet
  REQUIRE(Grants(run.path()).issue(vm(), op(9)).ok());
  REQUIRE(Grants(run.path()).clear().ok());
  CHECK(std::filesystem::is_empty(run.path() + "/grants"));
}

TEST_CASE("protection: survives a restart and ignores what is no UUID") {
  const TemporaryDirectory state;
  Protection protection(state.path() + "/deep");
  REQUIRE(protection.load().ok());  // nothing there yet
  CHECK(protection.all().empty());
  REQUIRE(protection.add(vm()).ok());
  REQUIRE(protection.add(vm()).ok());
  std::ofstream(state.path() + "/deep/protected/readme") << "x";
  Protection again(state.path() + "/deep");
  REQUIRE(again.load().ok());
  CHECK(again.all() == std::set<VmId>{vm()});
}

TEST_CASE("protection: a place that cannot be written is an error") {
  const TemporaryDirectory state;
  std::ofstream(state.path() + "/protected") << "a file";
  CHECK_FALSE(Protection(state.path()).add(vm()).ok());
}

TEST_CASE("process scan: a process that carries -uuid is found, a bare UUID is not") {
  const auto planted = VmId{*Uuid::parse("aaaaaaaa-0000-4000-8000-00000000beef")};
  const auto bare = VmId{*Uuid::parse("aaaaaaaa-0000-4000-8000-00000000dead")};
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sh", "qemu-system-x86_64", "-c", "kill -STOP $$", "guest", "-uuid",
            planted.str().c_str(), "-name", bare.str().c_str(), nullptr);
    ::_exit(127);
  }
  REQUIRE(child > 0);
  // Until exec has happened the child shows this program's own arguments.
  std::map<VmId, pid_t> found;
  for (int tries = 0; tries < 1000 && found.count(planted) == 0; ++tries) {
    const auto scan = processes_by_uuid();
    REQUIRE(scan.ok());
    found = scan.value();
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  REQUIRE(found.count(planted) == 1);
  CHECK(found.at(planted) == child);
  CHECK(found.count(bare) == 0);
  const auto after = processes_by_uuid();
  REQUIRE(after.ok());
  CHECK(after.value().count(planted) == 0);
  CHECK_FALSE(processes_by_uuid("/nowhere").ok());
}
