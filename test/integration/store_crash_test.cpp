// What an SQLite store has acknowledged survives the end of its process, at any moment.
//
//   skein-store-crash-test [ROUNDS [SEED]]    without arguments as many as SKEIN_CRASH_ROUNDS says, or 20
//
// In each round a child process appends, keeps and acknowledges, and prints what has been completed. It is
// killed after a random number of lines. Then the database must be sound and hold all that was printed; the
// next round goes on with it.

#include <skein/message_store.hpp>
#include <skein/sqlite.hpp>
#include <skein/testing.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <spawn.h>
#include <sqlite3.h>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern char** environ;

namespace skein::test {
namespace {

constexpr int callers = 24;
constexpr std::size_t everything = 1'000'000'000;

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error{what};
}

std::shared_ptr<message_store> open_store(const std::string& path) {
  sqlite_store_options options;
  options.path = path;
  options.max_batch = 8;
  options.sweep_interval = std::chrono::milliseconds{1};
  return make_sqlite_store(options);
}

// The child. One line is one system call, so a line is printed whole or not at all.

void print(const std::string& line) {
  const auto whole = line + '\n';
  if (::write(STDOUT_FILENO, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) std::_Exit(1);
}

asio::awaitable<void> call_for_ever(message_store& store, int number, unsigned seed) {
  std::minstd_rand random{seed + static_cast<unsigned>(number)};
  const history_limits history{everything, everything, {}};
  const offline_limits offline{everything, everything, {}};
  const auto name = std::to_string(number % 6);
  for (std::uint64_t n = 0;; ++n) {
    const auto text =
        std::to_string(number) + "-" + std::to_string(random()) + std::string(random() % 300, 'x');
    prepared_message what = message::text(text);
    if (n % 3 == 0) {
      const auto at = co_await store.append(name, what, history);
      print("P " + name + " " + at.epoch + " " + std::to_string(at.offset) + " " + text);
    } else if (n % 3 == 1) {
      const auto kept = co_await store.keep(name, what, offline);
      print("K " + name + " " + std::to_string(kept.id) + " " + text);
    } else {
      // Somebody else may be faster; then there is nothing to tell.
      page_limits one{1, 0};
      const auto waiting = co_await store.waiting(name, 0, one);
      if (waiting.empty()) continue;
      const auto id = waiting.front().id;
      print("a " + name + " " + std::to_string(id));  // from here on it may be gone
      const bool removed = co_await store.acknowledge(name, id);
      if (removed) print("A " + name + " " + std::to_string(id));
    }
  }
}

int child(const std::string& path, unsigned seed) {
  const auto store = open_store(path);
  asio::io_context context{1};
  for (int i = 0; i < callers; ++i) {
    asio::co_spawn(context, call_for_ever(*store, i, seed), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
  }
  context.run();
  return EXIT_FAILURE;  // it never ends
}

// The parent.

struct expected {
  std::map<std::string, std::map<std::uint64_t, std::string>> publications;
  std::map<std::string, std::string> epochs;
  std::map<std::string, std::map<stored_id, std::string>> kept;
  std::map<std::string, std::set<stored_id>> perhaps_gone;
  std::map<std::string, std::set<stored_id>> gone;
  stored_id last_id = 0;
  std::size_t lines = 0;

  void read(const std::string& line) {
    std::istringstream in{line};
    char what = 0;
    std::string name;
    in >> what >> name;
    ++lines;
    if (what == 'P') {
      std::string epoch;
      std::string text;
      std::uint64_t offset = 0;
      in >> epoch >> offset >> text;
      auto& known = epochs[name];
      require(known.empty() || known == epoch, "the epoch has changed");
      known = epoch;
      require(publications[name].emplace(offset, text).second, "an offset was given twice: " + line);
    } else {
      stored_id id = 0;
      std::string text;
      in >> id;
      if (what == 'K') {
        in >> text;
        last_id = std::max(last_id, id);
        require(kept[name].emplace(id, text).second, "an id was given twice: " + line);
      } else if (what == 'a') {
        perhaps_gone[name].insert(id);
      } else {
        require(gone[name].insert(id).second, "acknowledged twice: " + line);
      }
    }
    require(static_cast<bool>(in), "not a line of the child: " + line);
  }
};

/// Runs the child and kills it after so many lines. Reads all that it has printed.
void run_and_kill(const std::string& path, unsigned seed, std::size_t lines, expected& what) {
  int ends[2];
  require(::pipe(ends) == 0, "no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  std::string program = "/proc/self/exe";
  std::string verb = "child";
  auto where = path;
  auto number = std::to_string(seed);
  char* arguments[] = {program.data(), verb.data(), where.data(), number.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  require(error == 0, "the child does not start");

  if (lines == 0) ::kill(pid, SIGKILL);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in{::fdopen(ends[0], "r"), &std::fclose};
  std::string line;
  std::size_t seen = 0;
  for (int c = std::fgetc(in.get()); c != EOF; c = std::fgetc(in.get())) {
    if (c != '\n') {
      line.push_back(static_cast<char>(c));
      continue;
    }
    if (++seen == lines) ::kill(pid, SIGKILL);
    what.read(line);
    line.clear();
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  require(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child ended by itself");
  require(line.empty(), "half a line");
}

void check_integrity(const std::string& path) {
  sqlite3* handle = nullptr;
  std::string answer;
  const auto row = [](void* to, int, char** values, char**) {
    *static_cast<std::string*>(to) += values[0];
    return 0;
  };
  int code = sqlite3_open(path.c_str(), &handle);
  if (code == SQLITE_OK) code = sqlite3_exec(handle, "PRAGMA integrity_check", row, &answer, nullptr);
  sqlite3_close(handle);
  require(code == SQLITE_OK && answer == "ok", "the database is not sound: " + answer);
}

void check_store(message_store& store, expected& what) {
  const page_limits all{everything, 0};
  for (auto& [name, sent] : what.publications) {
    const auto page = testing::run(store.read(name, {what.epochs[name], 0}, all));
    require(page.recovered, "the history of " + name + " has a gap");
    std::map<std::uint64_t, std::string> there;
    for (const auto& each : page.publications) there.emplace(each.offset, each.what.payload());
    require(page.current.offset == there.size(), "the history of " + name + " has a gap");
    for (const auto& [offset, text] : sent) {
      require(there.contains(offset) && there[offset] == text, "a publication is lost: " + text);
    }
    sent = there;  // what was committed and not printed any more is there for good, too
  }
  for (auto& [name, sent] : what.kept) {
    std::map<stored_id, std::string> there;
    for (const auto& each : testing::run(store.waiting(name, 0, all)))
      there.emplace(each.id, each.what.payload());
    for (const auto& [id, text] : sent) {
      const bool is_gone = what.gone[name].contains(id);
      require(!is_gone || !there.contains(id), "a message came back: " + text);
      require(what.perhaps_gone[name].contains(id) || (there.contains(id) && there[id] == text),
              "a message is lost: " + text);
    }
    sent = there;
    what.perhaps_gone[name].clear();
    if (!there.empty()) what.last_id = std::max(what.last_id, there.rbegin()->first);
  }
  const auto kept = testing::run(store.keep("last", message::text("x"), {}));
  require(kept.id > what.last_id, "an id was used again");
  what.last_id = kept.id;
}

int parent(int rounds, unsigned seed) {
  std::cout << rounds << " rounds, seed " << seed << std::endl;
  std::mt19937 random{seed};
  auto directory = (std::filesystem::temp_directory_path() / "skein-crash-XXXXXX").string();
  require(::mkdtemp(directory.data()) != nullptr, "no temporary directory");
  std::size_t all = 0;
  std::unique_ptr<expected> what;
  for (int round = 0; round < rounds; ++round) {
    const auto path = directory + "/" + std::to_string(round / 20) + ".db";
    if (round % 20 == 0) what = std::make_unique<expected>();  // so that the checks stay quick
    std::uniform_int_distribution<std::size_t> moment{0, round % 3 == 0 ? 30U : 3'000U};
    try {
      const auto lines = moment(random);
      run_and_kill(path, static_cast<unsigned>(random()), lines, *what);
      // Now and then somebody else is the first who finds the log.
      if (round % 2 == 0 && std::filesystem::exists(path)) check_integrity(path);
      auto store = open_store(path);
      require(store->health().moved_aside.empty(), "the database was taken for damaged");
      check_store(*store, *what);
      store.reset();
      check_integrity(path);
    } catch (const std::exception& error) {
      std::cerr << "round " << round << ", seed " << seed << ", " << path << ": " << error.what()
                << std::endl;
      return EXIT_FAILURE;
    }
    all += std::exchange(what->lines, 0);
  }
  std::filesystem::remove_all(directory);
  std::cout << all << " lines, nothing lost" << std::endl;
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace skein::test

int main(int count, char** arguments) {
  const std::vector<std::string> given{arguments, arguments + count};
  if (count == 4 && given[1] == "child") {
    return skein::test::child(given[2], static_cast<unsigned>(std::stoul(given[3])));
  }
  const char* const wanted = std::getenv("SKEIN_CRASH_ROUNDS");
  const int rounds = count > 1 ? std::stoi(given[1]) : wanted != nullptr ? std::stoi(wanted) : 20;
  const auto seed = count > 2 ? static_cast<unsigned>(std::stoul(given[2])) : std::random_device{}();
  return skein::test::parent(rounds, seed);
}
