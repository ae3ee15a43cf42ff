// Follows a topic with many skein::clients while it is published to at a fixed rate, cuts their connections
// at random moments, and says how late publications were and whether any is missing.
//
// One thread. A publication counts from when it was due, not from when it could be sent.

#include <skein/client.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using steady = std::chrono::steady_clock;

struct options {
  std::string url = "ws://127.0.0.1:8080/ws";
  std::string topic = "feed";
  std::size_t subscribers = 10;
  double rate = 1000;     // publications a second
  double seconds = 5;     // of publishing
  double cuts = 0;        // a second, of all connections together
  std::size_t size = 64;  // bytes, at least, of a publication
  double patience = 30;   // seconds for what is still to come
};

/// A connection that can be cut, as a network does.
class fragile final : public skein::websocket {
 public:
  explicit fragile(std::unique_ptr<skein::websocket_client> inner) : inner_(std::move(inner)) {}
  void cut() { inner_.reset(); }
  asio::awaitable<std::optional<skein::message>> read() override {
    if (!inner_) co_return std::nullopt;
    auto got = co_await inner_->read();
    co_return got;
  }
  asio::awaitable<skein::outcome> write(skein::prepared_message what) override {
    if (!inner_) co_return skein::outcome::closed;
    const auto result = co_await inner_->write(std::move(what));
    co_return result;
  }
  asio::awaitable<void> close(skein::close_code code, std::string text) override {
    if (inner_) co_await inner_->close(code, std::move(text));
  }
  [[nodiscard]] bool is_open() const noexcept override { return inner_ && inner_->is_open(); }
  [[nodiscard]] const skein::close_reason& close_reason() const noexcept override {
    static const skein::close_reason cut{skein::closed_by::transport, skein::close_code::abnormal, "cut"};
    return inner_ ? inner_->close_reason() : cut;
  }

 private:
  std::unique_ptr<skein::websocket_client> inner_;
};

struct subscriber {
  std::weak_ptr<fragile> line;
  std::unique_ptr<skein::client> client;
  std::uint64_t got = 0;  // the number of the last publication, counted from this run's first
  std::uint64_t gaps = 0, disorders = 0;
};

class run {
 public:
  run(asio::io_context& context, options how)
      : context_(context), how_(std::move(how)), all_(how_.subscribers), random_(std::random_device{}()) {}

  asio::awaitable<int> measure() {
    publisher_ = std::make_unique<skein::client>(context_.get_executor(), client_of(nullptr));
    // A topic that the run has to itself has an offset for each publication, and begins behind what was
    // there.
    auto here = co_await position();
    if (here.epoch.empty()) {
      std::fprintf(stderr, "skein-feed: the topic %s keeps no history\n", how_.topic.c_str());
      co_return 2;
    }
    first_ = here.offset;
    for (auto& each : all_) {
      each.client = std::make_unique<skein::client>(context_.get_executor(), client_of(&each));
      spawn(follow(each, here));
    }
    co_await wait_until(
        [this] { return std::ranges::all_of(all_, [](const auto& each) { return !each.line.expired(); }); });
    began_ = steady::now();
    spawn(cut_now_and_then());
    co_await publish();
    publishing_ = false;
    co_await wait_until(
        [this] { return std::ranges::all_of(all_, [this](const auto& e) { return e.got == published_; }); });
    for (auto& each : all_) co_await each.client->close();
    co_await publisher_->close();
    co_return report();
  }

 private:
  skein::client_options client_of(subscriber* whose) {
    skein::client_options of;
    of.url = how_.url;
    of.min_pause = std::chrono::milliseconds{1};
    of.max_pause = std::chrono::milliseconds{100};
    of.max_waiting = 1'000'000;
    if (whose != nullptr) {
      of.connector = [whose](
                         std::string url,
                         skein::connect_options how) -> asio::awaitable<std::shared_ptr<skein::websocket>> {
        auto made = co_await skein::connect_websocket(std::move(url), std::move(how));
        auto line = std::make_shared<fragile>(std::move(made));
        whose->line = line;
        co_return line;
      };
    }
    return of;
  }

  template <class Task>
  void spawn(Task task) {
    asio::co_spawn(context_, std::move(task), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
  }

  asio::awaitable<skein::topic_position> position() {
    boost::json::object request{{"type", "history"}, {"channel", how_.topic}, {"limit", 0}};
    const auto answer = co_await publisher_->request(std::move(request));
    skein::topic_position at;
    at.epoch = answer.at("epoch").as_string();
    at.offset = answer.at("offset").to_number<std::uint64_t>();
    co_return at;
  }

  asio::awaitable<void> follow(subscriber& who, skein::topic_position from) {
    skein::subscribe_options since;
    since.since = std::move(from);
    auto feed = who.client->subscribe(how_.topic, std::move(since));
    while (auto item = co_await feed.next()) {
      if (item->presence) continue;
      if (item->gap) {
        ++who.gaps;
        continue;
      }
      const auto number = item->position.offset - first_;
      if (number != who.got + 1) ++who.disorders;
      who.got = number;
      const std::chrono::duration<double> at{steady::now() - began_};
      late_.push_back(static_cast<float>(at.count() - item->data.at("due").to_number<double>()));
    }
  }

  asio::awaitable<void> publish_one(boost::json::object data) {
    co_await publisher_->publish(how_.topic, std::move(data));
    ++published_;
    --under_way_;
  }

  asio::awaitable<void> publish() {
    const auto count = static_cast<std::uint64_t>(how_.rate * how_.seconds);
    const std::string padding(how_.size, 'x');
    asio::steady_timer timer{context_};
    for (std::uint64_t n = 0; n < count; ++n) {
      const double due = static_cast<double>(n) / how_.rate;
      const auto when =
          began_ + std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>{due});
      if (steady::now() < when) {
        timer.expires_at(when);
        co_await timer.async_wait(asio::use_awaitable);
      }
      boost::json::object data{{"type", "tick"}, {"due", due}, {"padding", padding}};
      ++under_way_;
      spawn(publish_one(std::move(data)));  // in the order in which they are asked for
    }
    co_await wait_until([this] { return under_way_ == 0; });
    took_ = std::chrono::duration<double>{steady::now() - began_}.count();
  }

  asio::awaitable<void> cut_now_and_then() {
    if (how_.cuts <= 0) co_return;
    asio::steady_timer timer{context_};
    std::exponential_distribution<double> pause{how_.cuts};
    std::uniform_int_distribution<std::size_t> whose{0, all_.size() - 1};
    while (publishing_) {
      const std::chrono::duration<double> wait{pause(random_)};
      timer.expires_after(std::chrono::duration_cast<steady::duration>(wait));
      co_await timer.async_wait(asio::use_awaitable);
      if (const auto line = all_[whose(random_)].line.lock(); line && line->is_open()) {
        line->cut();
        ++cuts_;
      }
    }
  }

  template <class Condition>
  asio::awaitable<void> wait_until(Condition holds) {
    const auto end = steady::now() + std::chrono::duration_cast<steady::duration>(
                                         std::chrono::duration<double>{how_.patience});
    asio::steady_timer timer{context_};
    while (!holds() && steady::now() < end) {
      timer.expires_after(std::chrono::milliseconds{1});
      co_await timer.async_wait(asio::use_awaitable);
    }
  }

  int report() {
    std::uint64_t missing = 0, gaps = 0, disorders = 0, connections = 0;
    for (const auto& each : all_) {
      missing += published_ - std::min(published_, each.got);
      gaps += each.gaps;
      disorders += each.disorders;
      connections += each.client->stats().connections;
    }
    std::ranges::sort(late_);
    const auto at = [this](double part) {
      if (late_.empty()) return 0.0;
      const auto index = static_cast<std::size_t>(part * static_cast<double>(late_.size() - 1));
      return 1e3 * static_cast<double>(late_[index]);
    };
    std::printf("publications        %llu, %.0f a second\n", static_cast<unsigned long long>(published_),
                static_cast<double>(published_) / took_);
    std::printf("received            %zu by %zu subscribers\n", late_.size(), all_.size());
    std::printf("cuts                %llu, connections %llu\n", static_cast<unsigned long long>(cuts_),
                static_cast<unsigned long long>(connections));
    std::printf("missing             %llu, gaps %llu, out of order or twice %llu\n",
                static_cast<unsigned long long>(missing), static_cast<unsigned long long>(gaps),
                static_cast<unsigned long long>(disorders));
    std::printf("late, ms            p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f\n", at(0.5), at(0.9),
                at(0.99), at(0.999), at(1));
    return missing + gaps + disorders == 0 ? 0 : 1;
  }

  asio::io_context& context_;
  const options how_;
  std::vector<subscriber> all_;
  std::unique_ptr<skein::client> publisher_;
  std::mt19937_64 random_;
  std::vector<float> late_;
  steady::time_point began_;
  std::uint64_t first_ = 0;  // the offset before this run's first
  std::uint64_t published_ = 0, under_way_ = 0, cuts_ = 0;
  double took_ = 1;
  bool publishing_ = true;
};

options parse(int argc, char** argv) {
  options how;
  CLI::App app{"skein::clients follow a topic while it is published to, and their connections are cut"};
  app.add_option("--url", how.url, "of a route that speaks the JSON protocol")->capture_default_str();
  app.add_option("--topic", how.topic, "with a history, to which clients may publish")->capture_default_str();
  app.add_option("--subscribers", how.subscribers, "clients that follow it")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app.add_option("--rate", how.rate, "publications a second")
      ->check(CLI::Range(0.1, 1e6))
      ->capture_default_str();
  app.add_option("--seconds", how.seconds, "of publishing")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  app.add_option("--cuts", how.cuts, "connections cut in a second, at random moments")
      ->check(CLI::Range(0.0, 1e4))
      ->capture_default_str();
  app.add_option("--size", how.size, "bytes of padding in a publication")
      ->check(CLI::Range(0, 32'768))
      ->capture_default_str();
  app.add_option("--patience", how.patience, "seconds to wait for what is still to come")
      ->check(CLI::Range(1.0, 600.0))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  return how;
}

}  // namespace

int main(int argc, char** argv) try {
  asio::io_context context{1};
  run feed{context, parse(argc, argv)};
  int status = 2;
  asio::co_spawn(context, feed.measure(), [&](const std::exception_ptr& error, int result) {
    context.stop();
    if (error) std::rethrow_exception(error);
    status = result;
  });
  context.run();
  return status;
} catch (const std::exception& error) {
  std::fprintf(stderr, "skein-feed: %s\n", error.what());
  return 2;
}
