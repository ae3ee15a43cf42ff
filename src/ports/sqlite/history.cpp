#include "ports/sqlite/history.hpp"

#include "ports/history_rules.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace skein::detail::sqlite {
namespace {

// What one append deletes at most; the rest is left to the sweep, so that no commit takes long.
constexpr std::uint64_t deletions_of_append = 256;

#define SKEIN_TOPIC_COLUMNS "id, epoch, first, last, bytes, max_age, last_at"

}  // namespace

message to_message(const statement::use& row, int opcode_column, int payload_column) {
  const auto op =
      row.number(opcode_column) == static_cast<int>(opcode::binary) ? opcode::binary : opcode::text;
  return {op, row.text(payload_column)};
}

history::history(connection& in)
    : find_(in, "SELECT " SKEIN_TOPIC_COLUMNS " FROM topics WHERE name = ?"),
      make_(in,
            "INSERT INTO topics (name, epoch, first, last, bytes, max_age, last_at) "
            "VALUES (?, ?, 1, 0, 0, 0, ?) RETURNING id"),
      save_(in, "UPDATE topics SET first = ?, last = ?, bytes = ?, max_age = ?, last_at = ? WHERE id = ?"),
      insert_(in,
              "INSERT INTO publications (topic, position, published_at, opcode, payload) "
              "VALUES (?, ?, ?, ?, ?)"),
      oldest_(in,
              "SELECT published_at, length(payload) FROM publications "
              "WHERE topic = ? AND position >= ? ORDER BY position"),
      visible_(in,
               "SELECT position FROM publications WHERE topic = ? AND position >= ? AND published_at > ? "
               "ORDER BY position LIMIT 1"),
      page_(in,
            "SELECT position, published_at, length(payload), opcode, payload FROM publications "
            "WHERE topic = ? AND position >= ? ORDER BY position"),
      delete_(in, "DELETE FROM publications WHERE topic = ? AND position >= ? AND position < ?"),
      delete_some_(in,
                   "DELETE FROM publications WHERE topic = ?1 AND position IN "
                   "(SELECT position FROM publications WHERE topic = ?1 AND position < ?2 "
                   "ORDER BY position LIMIT ?3)"),
      forget_(in, "DELETE FROM topics WHERE id = ?"),
      note_forgotten_(in, "INSERT INTO forgotten (topic) VALUES (?)"),
      next_forgotten_(in, "SELECT topic FROM forgotten LIMIT 1"),
      done_forgotten_(in, "DELETE FROM forgotten WHERE topic = ?"),
      epoch_seed_(in, "SELECT seed FROM epochs"),
      renew_seed_(in, "UPDATE epochs SET seed = ?"),
      next_topics_(in, "SELECT " SKEIN_TOPIC_COLUMNS " FROM topics WHERE id > ? ORDER BY id LIMIT ?") {}

topic_position history::append(const std::string& name, const prepared_message& what,
                               const history_limits& limits, wall_time now, store_stats& counted) {
  auto to = find_or_make(name, now);
  const auto size = what.size();
  ++counted.appends;
  counted.bytes_in += size;
  ++to.last;
  to.last_at = to.last == 1 ? now : std::max(to.last_at, now);
  // What the limits until now have ended does not come back with new ones.
  const auto over = std::max(latest_over(now, to.max_age), latest_over(now, limits.max_age));
  to.max_age = limits.max_age;
  if (limits.max_messages == 0 || (limits.max_bytes != 0 && size > limits.max_bytes)) {
    // Not even this one is kept.
    counted.trimmed += to.last + 1 - to.first;
    delete_.run(to.id, to.first, std::min(to.last, to.first + deletions_of_append));
    to.first = to.last + 1;
    to.bytes = 0;
  } else {
    insert_.run(to.id, to.last, to_column(to.last_at), static_cast<int>(what.type()), what.payload());
    to.bytes += size;
    trim(to, limits, over, counted);
  }
  save(to);
  return {to.epoch, to.last};
}

history_page history::read(const std::string& name, const topic_position& since, page_limits most,
                           wall_time now) {
  auto from = find(name);
  if (!from) {
    from.emplace();  // as it would begin
    from->epoch = next_epoch(name);
  }
  if (from->max_age > std::chrono::nanoseconds{0} && from->first <= from->last) {
    statement::use seek{visible_, from->id, from->first, to_column(latest_over(now, from->max_age))};
    from->first = seek.step() ? seek.count(0) : from->last + 1;
  }
  history_page page;
  page.current = {from->epoch, from->last};
  const auto start = start_after(since, {from->epoch, from->first, from->last});
  page.recovered = start.recovered;
  if (start.offset > from->last) return page;
  page_room room{most};
  statement::use rows{page_, from->id, start.offset};
  while (rows.step()) {
    if (!room.take(static_cast<std::size_t>(rows.number(2)))) {
      page.more = true;
      break;
    }
    page.publications.push_back({rows.count(0), to_time(rows.number(1)), to_message(rows, 3, 4)});
  }
  return page;
}

topic_position history::position(const std::string& name) {
  auto of = find(name);
  if (!of) return {next_epoch(name), 0};
  return {std::move(of->epoch), of->last};
}

bool history::forget(const std::string& name, store_stats& counted) {
  const auto which = find(name);
  if (!which) return false;
  remove(which->id, counted);
  return true;
}

bool history::sweep_forgotten(sweep& progress) {
  while (progress.max_rows > 0) {
    std::int64_t id = 0;
    {
      statement::use next{next_forgotten_};
      if (!next.step()) return true;
      id = next.number(0);
    }
    const auto deleted = delete_some_.run(id, std::numeric_limits<std::int64_t>::max(), progress.max_rows);
    if (deleted < progress.max_rows) done_forgotten_.run(id);
    progress.max_rows -= deleted;
  }
  return false;
}

bool history::sweep_topics(sweep& progress, std::chrono::nanoseconds idle, wall_time now,
                           store_stats& counted) {
  std::vector<topic> page;
  {
    statement::use rows{next_topics_, progress.after_topic, progress.max_topics};
    while (rows.step()) page.push_back(to_topic(rows));
  }
  for (auto& each : page) {
    const auto first = each.first;
    const history_limits none{std::numeric_limits<std::size_t>::max(), 0, {}};
    trim(each, none, latest_over(now, each.max_age), counted);
    if (each.first != first) save(each);
    // What an append has left, too.
    const auto deleted = delete_some_.run(each.id, each.first, progress.max_rows);
    progress.max_rows -= deleted;
    if (progress.max_rows == 0) return false;  // this topic again, next time
    progress.after_topic = each.id;
    if (each.first > each.last && is_over(end_of(each.last_at, idle), now)) remove(each.id, counted);
  }
  return page.size() < progress.max_topics;
}

history::topic history::to_topic(const statement::use& row) {
  return {row.number(0),         row.text(1),  row.count(2),
          row.count(3),          row.count(4), std::chrono::nanoseconds{row.number(5)},
          to_time(row.number(6))};
}

std::optional<history::topic> history::find(const std::string& name) {
  statement::use row{find_, name};
  if (!row.step()) return std::nullopt;
  return to_topic(row);
}

history::topic history::find_or_make(const std::string& name, wall_time now) {
  if (auto found = find(name)) return std::move(*found);
  topic fresh;
  fresh.epoch = next_epoch(name);
  fresh.last_at = now;
  statement::use row{make_, name, fresh.epoch, to_column(now)};
  row.step_to_row();
  fresh.id = row.number(0);
  row.step();  // to its end
  return fresh;
}

std::string history::next_epoch(const std::string& name) {
  statement::use row{epoch_seed_};
  row.step_to_row();
  const std::string seed{row.text(0)};
  row.step();  // to its end
  return epoch_of(seed, name);
}

void history::trim(topic& of, const history_limits& limits, wall_time over, store_stats& counted) {
  const auto too_many = [&] { return of.last + 1 - of.first > limits.max_messages; };
  const auto too_large = [&] { return limits.max_bytes != 0 && of.bytes > limits.max_bytes; };
  if (of.first > of.last || (over == wall_time::min() && !too_many() && !too_large())) return;
  const auto first = of.first;
  {
    statement::use rows{oldest_, of.id, of.first};
    while (rows.step() && (too_many() || too_large() || to_time(rows.number(0)) <= over)) {
      ++of.first;
      of.bytes -= rows.count(1);
    }
  }
  if (of.first == first) return;
  counted.trimmed += of.first - first;
  delete_.run(of.id, first, std::min(of.first, first + deletions_of_append));
}

void history::save(const topic& which) {
  save_.run(which.first, which.last, which.bytes, std::int64_t{which.max_age.count()},
            to_column(which.last_at), which.id);
}

void history::remove(std::int64_t id, store_stats& counted) {
  forget_.run(id);
  note_forgotten_.run(id);
  renew_seed_.run(new_epoch_seed());
  ++counted.forgotten;
}

}  // namespace skein::detail::sqlite
