#include "deflate_peer.hpp"

#include <zlib.h>

#include <array>
#include <charconv>
#include <stdexcept>

namespace skein::test {
namespace {

constexpr std::string_view sync_tail{"\x00\x00\xff\xff", 4};

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string deflate_payload(std::string_view payload, const deflate_form& form) {
  z_stream stream{};
  if (deflateInit2(&stream, form.level, Z_DEFLATED, -form.window_bits, form.memory, form.strategy) != Z_OK) {
    throw std::invalid_argument{"deflateInit2"};
  }
  std::string out;
  const auto put = [&](std::string_view part, int flush) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
    stream.avail_in = static_cast<uInt>(part.size());
    std::array<char, 4096> buffer;
    do {
      stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
      stream.avail_out = static_cast<uInt>(buffer.size());
      deflate(&stream, flush);
      out.append(buffer.data(), buffer.size() - stream.avail_out);
    } while (stream.avail_out == 0);
  };
  const int flush = form.full_flush ? Z_FULL_FLUSH : Z_SYNC_FLUSH;
  while (form.block > 0 && payload.size() > form.block) {
    put(payload.substr(0, form.block), flush);
    payload.remove_prefix(form.block);
  }
  put(payload, flush);
  deflateEnd(&stream);
  if (!std::string_view{out}.ends_with(sync_tail)) throw std::logic_error{"deflate did not flush"};
  out.resize(out.size() - sync_tail.size());
  if (out.empty()) out.push_back('\0');  // RFC 7692 section 7.2.3.6: nothing at all is one empty block
  return out;
}

std::optional<std::string> inflate_payload(std::string_view payload, int window_bits) {
  z_stream stream{};
  if (inflateInit2(&stream, -window_bits) != Z_OK) throw std::invalid_argument{"inflateInit2"};
  std::string in{payload};
  in += sync_tail;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  std::string out;
  int status = Z_OK;
  std::array<char, 4096> buffer;
  do {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    status = inflate(&stream, Z_SYNC_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
  } while (status == Z_OK && (stream.avail_in > 0 || stream.avail_out == 0));
  const bool clean = (status == Z_OK || status == Z_BUF_ERROR) && stream.avail_in == 0;
  inflateEnd(&stream);
  if (!clean) return std::nullopt;
  return out;
}

deflate_terms read_terms(std::string_view header) {
  deflate_terms terms;
  if (header.empty()) return terms;
  auto rest = header;
  const auto next = [&rest] {
    const auto part = trim(rest.substr(0, rest.find(';')));
    rest.remove_prefix(
        std::min(rest.size(), rest.find(';') == std::string_view::npos ? rest.size() : rest.find(';') + 1));
    return part;
  };
  terms.accepted = next() == "permessage-deflate";
  terms.well_formed = terms.accepted && header.find(',') == std::string_view::npos;
  const auto flag = [&](bool& which, std::string_view value) {
    if (which || !value.empty()) terms.well_formed = false;
    which = true;
  };
  const auto bits = [&](std::optional<int>& which, std::string_view value) {
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (which || error != std::errc{} || end != value.data() + value.size() || number < 8 || number > 15) {
      terms.well_formed = false;
    }
    which = number;
  };
  while (!rest.empty()) {
    const auto parameter = next();
    const auto equals = parameter.find('=');
    const auto name = trim(parameter.substr(0, equals));
    const auto value =
        equals == std::string_view::npos ? std::string_view{} : trim(parameter.substr(equals + 1));
    if (name == "server_no_context_takeover") {
      flag(terms.server_no_context_takeover, value);
    } else if (name == "client_no_context_takeover") {
      flag(terms.client_no_context_takeover, value);
    } else if (name == "server_max_window_bits") {
      bits(terms.server_bits, value);
    } else if (name == "client_max_window_bits") {
      bits(terms.client_bits, value);
    } else {
      terms.well_formed = false;
    }
  }
  return terms;
}

}  // namespace skein::test
