// JSON and tensors as docs/wire.md has them: what a server needs and no layer.
#pragma once
#include <cctype>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Unsupported : std::runtime_error { using runtime_error::runtime_error; };  // the call is declined
struct Wrong : std::runtime_error { using runtime_error::runtime_error; };        // the call is refused

struct Json {
    enum Kind { Null, Bool, Number, Text, List, Object } kind = Null;
    double number = 0;  // of Number; 0 or 1 of Bool
    std::string text;   // of Text
    std::vector<Json> list;
    std::map<std::string, Json> fields;

    bool has(const std::string& name) const { return fields.count(name) && fields.at(name).kind != Null; }
    const Json& operator[](const std::string& name) const {
        static const Json null;
        return fields.count(name) ? fields.at(name) : null;
    }
    int64_t integer(const std::string& what) const {
        if (kind != Number || number != double(int64_t(number))) throw Wrong(what + " is no integer");
        return int64_t(number);
    }
};

class Reader {
    const std::string& line;
    size_t at = 0;

    char peek() {
        while (at < line.size() && std::isspace((unsigned char)line[at])) ++at;
        return at < line.size() ? line[at] : '\0';
    }
    bool take(char c) { return peek() == c ? ++at, true : false; }
    void expect(char c) { if (!take(c)) throw Wrong(std::string("no JSON: expected ") + c); }

    std::string text() {
        std::string out;
        expect('"');
        while (line.at(at) != '"') {
            char c = line[at++];
            if (c != '\\') { out += c; continue; }
            switch (c = line.at(at++)) {
                case 'n': out += '\n'; break;
                case 't': out += '\t'; break;
                case 'r': out += '\r'; break;
                case 'b': out += '\b'; break;
                case 'f': out += '\f'; break;
                case 'u': {  // to UTF-8; surrogate pairs stay two: no name in the protocol has any
                    int code = std::stoi(line.substr(at, 4), nullptr, 16);
                    at += 4;
                    if (code < 0x80) out += char(code);
                    else if (code < 0x800) { out += char(0xC0 | code >> 6); out += char(0x80 | (code & 63)); }
                    else { out += char(0xE0 | code >> 12); out += char(0x80 | (code >> 6 & 63)); out += char(0x80 | (code & 63)); }
                    break;
                }
                default: out += c;
            }
        }
        ++at;
        return out;
    }

public:
    explicit Reader(const std::string& line) : line(line) {}

    Json value() {
        Json out;
        switch (peek()) {
            case '{':
                out.kind = Json::Object;
                if (take('{'), take('}')) return out;
                do { std::string name = text(); expect(':'); out.fields[name] = value(); } while (take(','));
                expect('}');
                return out;
            case '[':
                out.kind = Json::List;
                if (take('['), take(']')) return out;
                do out.list.push_back(value()); while (take(','));
                expect(']');
                return out;
            case '"': out.kind = Json::Text; out.text = text(); return out;
            case 'n': at += 4; return out;
            case 't': at += 4; out.kind = Json::Bool; out.number = 1; return out;
            case 'f': at += 5; out.kind = Json::Bool; return out;
            default: {
                size_t length = 0;
                out.kind = Json::Number;
                out.number = std::stod(line.substr(at, 40), &length);
                at += length;
                return out;
            }
        }
    }
};

inline std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += (unsigned char)c < 32 ? ' ' : c;
    }
    return out + '"';
}

using Shape = std::vector<int64_t>;

// Elements are doubles, whatever the dtype: sums of float32 are wider so, and rounded once, by `written`.
struct Tensor {
    std::string dtype;
    Shape shape;
    std::vector<double> data;
};

inline int64_t elements(const Shape& shape) {
    int64_t n = 1;
    for (int64_t size : shape) n *= size;
    return n;
}

inline std::string bytes_of(const std::string& base64) {
    std::string out;
    uint32_t held = 0, bits = 0;
    for (char c : base64) {
        if (c == '=') break;
        held = held << 6 | (c >= 'a' ? c - 'a' + 26 : c >= 'A' ? c - 'A' : c >= '0' ? c - '0' + 52 : c == '+' ? 62 : 63);
        if ((bits += 6) >= 8) out += char(held >> (bits -= 8));
    }
    return out;
}

inline std::string base64_of(const std::string& bytes) {
    static const char* letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t three = 0;
        for (size_t k = i; k < i + 3; ++k) three = three << 8 | (k < bytes.size() ? (unsigned char)bytes[k] : 0);
        for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? letters[three >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

// The host is taken to be little-endian, as the wire is.
template <class T> void read_as(const std::string& bytes, std::vector<double>& data) {
    for (size_t i = 0; i < data.size(); ++i) { T x; std::memcpy(&x, bytes.data() + i * sizeof(T), sizeof(T)); data[i] = x; }
}
template <class T> std::string written_as(const std::vector<double>& data) {
    std::string bytes;
    for (double x : data) { T y = T(x); bytes.append(reinterpret_cast<char*>(&y), sizeof(T)); }
    return bytes;
}

inline Tensor tensor(const Json& json, const std::string& dtype) {
    Tensor out;
    out.dtype = json["dtype"].text;
    for (const Json& size : json["shape"].list) out.shape.push_back(size.integer("size"));
    std::string bytes = bytes_of(json["data"].text);
    out.data.resize(elements(out.shape));
    if (out.dtype != dtype) throw Wrong("a tensor is " + out.dtype + ": expected " + dtype);
    size_t width = dtype == "float32" ? 4 : 8;
    if (bytes.size() != width * out.data.size()) throw Wrong("a tensor has other bytes than its shape");
    width == 4 ? read_as<float>(bytes, out.data) : read_as<double>(bytes, out.data);
    return out;
}

inline std::string written(const Tensor& t) {
    std::string shape;
    for (int64_t size : t.shape) shape += (shape.empty() ? "" : ",") + std::to_string(size);
    std::string bytes = t.dtype == "float32" ? written_as<float>(t.data) : written_as<double>(t.data);
    return "{\"dtype\":" + quoted(t.dtype) + ",\"shape\":[" + shape + "],\"data\":\"" + base64_of(bytes) + "\"}";
}
