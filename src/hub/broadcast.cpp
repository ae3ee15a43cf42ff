#include "hub/broadcast.hpp"

#include "hub/shard.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <utility>

namespace skein::detail {

void broadcast_total::add(const delivery_report& part) {
  const std::lock_guard lock{mutex_};
  report_.matched += part.matched;
  report_.written += part.written;
  report_.dropped += part.dropped;
  report_.closed += part.closed;
  report_.pending += part.pending;
  report_.conflated += part.conflated;
  report_.evicted += part.evicted;
  if (--parts_left_ == 0) resume();
}

void broadcast_total::blame(std::exception_ptr why) noexcept {
  const std::lock_guard lock{mutex_};
  if (!failure_) failure_ = std::move(why);
}

void broadcast_total::cancel() {
  const std::lock_guard lock{mutex_};
  resume();
}

void broadcast_total::resume() {
  if (waiter_) asio::post(resume_on_, [waiter = std::move(waiter_)]() mutable { waiter(); });
}

std::optional<delivery_report> broadcast_total::report() const {
  const std::lock_guard lock{mutex_};
  if (parts_left_ > 0) return std::nullopt;
  if (failure_) std::rethrow_exception(failure_);
  return report_;
}

void broadcast_part::start(host& where, std::shared_ptr<broadcast_total> total, frame_block* frame,
                           const delivery& how, time_point deadline, const audience_ref& whom) noexcept {
  broadcast_part* part = nullptr;
  try {
    part = new broadcast_part{where, total};
    static_cast<shard&>(where).deliver(frame, how, part, whom.get());
    if (part->outstanding_ > 0 && deadline != time_point::max()) where.set_deadline(*part, deadline);
  } catch (...) {  // for want of memory
    total->blame(std::current_exception());
    if (!part) return total->add({});
    part->report();
  }
  part->started_ = true;
  part->finish_if_done();
}

void broadcast_part::settle(outcome what, bool replaced) noexcept {
  --outstanding_;
  if (total_) {
    if (what == outcome::written) {
      ++report_.written;
    } else if (what == outcome::dropped) {
      ++report_.dropped;
      if (replaced) ++report_.conflated;
    } else if (what == outcome::pending) {
      ++report_.pending;
    } else {
      ++report_.closed;
    }
  }
  finish_if_done();
}

void broadcast_part::on_deadline(time_point) {
  report_.pending += outstanding_;
  report();
}

void broadcast_part::report() noexcept {
  std::exchange(total_, nullptr)->add(report_);
}

void broadcast_part::finish_if_done() noexcept {
  if (!started_ || outstanding_ > 0) return;
  if (total_) report();
  delete this;
}

// --- All shards ---

namespace {

/// A part of a broadcast on its way to another shard. If that ends first, nobody there was matched.
class remote_part {
 public:
  remote_part(std::shared_ptr<shard> where, std::shared_ptr<broadcast_total> total, prepared_message what,
              delivery how, time_point deadline, audience_ref whom)
      : shard_(std::move(where)),
        total_(std::move(total)),
        what_(std::move(what)),
        how_(std::move(how)),
        deadline_(deadline),
        whom_(std::move(whom)) {}
  remote_part(remote_part&&) noexcept = default;
  remote_part& operator=(remote_part&&) = delete;
  ~remote_part() {
    if (total_) total_->add({});
  }
  /// Posts itself.
  void send() noexcept {
    const auto where = shard_;
    const auto total = total_;
    try {
      where->post(std::move(*this));
    } catch (...) {
      total->blame(std::current_exception());
    }
  }
  void operator()() {
    broadcast_part::start(*shard_, std::exchange(total_, nullptr), what_.block(), how_, deadline_, whom_);
  }

 private:
  std::shared_ptr<shard> shard_;
  std::shared_ptr<broadcast_total> total_;
  prepared_message what_;
  delivery how_;
  time_point deadline_;
  audience_ref whom_;
};

}  // namespace

asio::awaitable<delivery_report> deliver_to_all(const std::vector<std::shared_ptr<shard>>& shards,
                                                std::shared_ptr<clock> time, prepared_message what,
                                                delivery how, audience_ref whom) {
  const auto begun = time->now();
  const auto deadline =
      how.deadline().count() > 0 ? deadline_after(begun, how.deadline()) : time_point::max();
  const auto total = std::make_shared<broadcast_total>(shards.size(), co_await asio::this_coro::executor);
  // The shards are looked at before the wait only: whoever owns the list may go meanwhile. What takes memory
  // is done before it too, where it may throw.
  std::vector<remote_part> elsewhere;
  elsewhere.reserve(shards.size());
  for (const auto& one : shards) {
    if (!one->running_here()) elsewhere.emplace_back(one, total, what, how, deadline, whom);
  }
  co_await suspend<void()>([&](auto handler) {
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
      slot.assign([total](asio::cancellation_type) { total->cancel(); });
    }
    total->on_complete(resumption<void()>{std::move(handler)});
    for (auto& one : elsewhere) one.send();
    elsewhere.clear();
    for (const auto& one : shards) {
      if (one->running_here()) broadcast_part::start(*one, total, what.block(), how, deadline, whom);
    }
  });
  auto report = total->report();
  if (!report) throw boost::system::system_error{asio::error::operation_aborted};
  report->elapsed = time->now() - begun;
  co_return *report;
}

void post_to_all(const std::vector<std::shared_ptr<shard>>& shards, const prepared_message& what,
                 const delivery& how, const audience_ref& whom) {
  for (const auto& one : shards) {
    if (one->running_here()) {
      one->deliver(what.block(), how, nullptr, whom.get());
    } else {
      one->post([one, what, how, whom] {
        try {
          one->deliver(what.block(), how, nullptr, whom.get());
        } catch (...) {
          one->problem("a message was not delivered: " + what_of(std::current_exception()));
        }
      });
    }
  }
}

}  // namespace skein::detail
