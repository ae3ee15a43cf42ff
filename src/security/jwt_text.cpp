// A sentence for each reason.

#include <skein/jwt.hpp>

namespace skein {

std::string_view to_string(jwt_refusal why) noexcept {
  switch (why) {
    case jwt_refusal::token_too_long:
      return "the token is longer than it may be";
    case jwt_refusal::not_three_parts:
      return "the token is not three parts with a dot between them";
    case jwt_refusal::base64_character:
      return "a part of the token has a character outside the alphabet of base64url";
    case jwt_refusal::base64_padding:
      return "a part of the token is padded base64";
    case jwt_refusal::base64_length:
      return "a part of the token has a length that no bytes encode to";
    case jwt_refusal::base64_trailing_bits:
      return "a part of the token ends in bits that belong to no byte";
    case jwt_refusal::header_not_json:
      return "the header is not a JSON object";
    case jwt_refusal::payload_not_json:
      return "the payload is not a JSON object";
    case jwt_refusal::json_too_deep:
      return "the JSON is nested too deeply";
    case jwt_refusal::json_too_large:
      return "the JSON has too many members and elements";
    case jwt_refusal::duplicate_member:
      return "the JSON names a member twice";
    case jwt_refusal::header_type:
      return "a member of the header has a type it may not have";
    case jwt_refusal::algorithm_missing:
      return "the header names no algorithm";
    case jwt_refusal::algorithm_none:
      return "the token is not signed";
    case jwt_refusal::algorithm_unknown:
      return "the algorithm is not accepted";
    case jwt_refusal::algorithm_mismatch:
      return "the algorithm is not that of the key";
    case jwt_refusal::embedded_key:
      return "the header brings its own key or points to one";
    case jwt_refusal::critical_header:
      return "the header asks for extensions that are not understood";
    case jwt_refusal::unencoded_payload:
      return "the payload is not encoded";
    case jwt_refusal::token_type_wrong:
      return "the token is not of the type that is asked for";
    case jwt_refusal::key_unknown:
      return "no key has the name that the token gives";
    case jwt_refusal::key_ambiguous:
      return "too many keys could be that of the token";
    case jwt_refusal::signature_wrong:
      return "the signature is wrong";
    case jwt_refusal::expiry_missing:
      return "the token does not say when it expires";
    case jwt_refusal::expiry_type:
      return "the time of expiry is not a time";
    case jwt_refusal::expired:
      return "the token has expired";
    case jwt_refusal::lifetime_too_long:
      return "the token expires later than it may";
    case jwt_refusal::not_before_missing:
      return "the token does not say from when on it is valid";
    case jwt_refusal::not_before_type:
      return "the time before which the token is not valid is not a time";
    case jwt_refusal::not_yet_valid:
      return "the token is not valid yet";
    case jwt_refusal::issued_at_type:
      return "the time of issue is not a time";
    case jwt_refusal::issued_in_future:
      return "the token was issued in the future";
    case jwt_refusal::issuer_missing:
      return "the token names no issuer";
    case jwt_refusal::issuer_type:
      return "the issuer is not a string";
    case jwt_refusal::issuer_wrong:
      return "the issuer is not one of those that are accepted";
    case jwt_refusal::audience_missing:
      return "the token names no audience";
    case jwt_refusal::audience_type:
      return "the audience is neither a string nor an array of strings";
    case jwt_refusal::audience_wrong:
      return "the token is for another audience";
    case jwt_refusal::subject_missing:
      return "the token names no subject";
    case jwt_refusal::subject_type:
      return "the subject is not a string";
    case jwt_refusal::id_missing:
      return "the token has no identifier, which one-time use needs";
    case jwt_refusal::id_type:
      return "the identifier is not a string";
    case jwt_refusal::already_used:
      return "the token has been used before";
    case jwt_refusal::one_time_full:
      return "no more one-time tokens can be remembered now";
    case jwt_refusal::internal_error:
      return "the cryptographic library failed";
  }
  return "an unknown reason";
}

std::string_view to_string(jwt_key_fault why) noexcept {
  switch (why) {
    case jwt_key_fault::secret_too_short:
      return "the secret is shorter than the hash of its algorithm";
    case jwt_key_fault::secret_is_public:
      return "the secret is a key or a certificate that others have";
    case jwt_key_fault::key_type:
      return "the key is of a type that the algorithm does not use";
    case jwt_key_fault::not_pem:
      return "the text is not exactly one PEM block of PUBLIC KEY or CERTIFICATE";
    case jwt_key_fault::private_key:
      return "the key is private, and a verifier needs only the public one";
    case jwt_key_fault::rsa_size:
      return "the RSA modulus does not have 2048 to 8192 bits";
    case jwt_key_fault::rsa_exponent:
      return "the RSA exponent is even, or 1, or longer than 64 bits";
    case jwt_key_fault::curve:
      return "the curve is not the algorithm's";
    case jwt_key_fault::invalid_key:
      return "the values of the key are no key";
    case jwt_key_fault::not_jwks:
      return "the document is not a JSON object with an array \"keys\"";
    case jwt_key_fault::jwks_too_large:
      return "the key set has more bytes or more keys than it may have";
    case jwt_key_fault::duplicate_member:
      return "the JSON names a member twice";
    case jwt_key_fault::member_missing:
      return "the key lacks a member that its type needs";
    case jwt_key_fault::member_type:
      return "a member of the key has the wrong type or length";
    case jwt_key_fault::kty_unknown:
      return "the type of the key is not known";
    case jwt_key_fault::algorithm_unknown:
      return "the algorithm of the key is not accepted";
    case jwt_key_fault::algorithm_missing:
      return "the secret names no algorithm";
    case jwt_key_fault::not_for_signatures:
      return "the key is not for verifying signatures";
    case jwt_key_fault::secret_not_allowed:
      return "the key is a secret, which this document may not have";
  }
  return "an unknown fault";
}

}  // namespace skein
