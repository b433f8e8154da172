// A server of docs/wire.md: Linear, ReLU and Conv2d, float32 and float64, on its standard input and output.
#include <iostream>
#include <memory>
#include <set>
#include "wire.hpp"

using State = std::vector<std::pair<std::string, Tensor>>;  // in torch's order
using Inputs = std::vector<std::unique_ptr<Tensor>>;  // null: left out

static std::string bug;  // --bug NAME: a mistake made on purpose, for the test of this example

// What the user wrote. An argument that nobody asked for is one that we do not have.
class Arguments {
    Json given;
    std::set<std::string> known;

public:
    Arguments(const Json& given, std::set<std::string> known) : given(given), known(known) {
        for (const auto& [name, value] : given.fields)
            if (!known.count(name)) throw Unsupported(name + "=" + shown(value));
    }
    static std::string shown(const Json& value) {  // as Python has it
        switch (value.kind) {
            case Json::Null: return "None";
            case Json::Bool: return value.number ? "True" : "False";
            case Json::Text: return "'" + value.text + "'";
            case Json::Number: { std::string s = std::to_string(value.number); return s.substr(0, s.find(".000000")); }
            default: return "(...)";
        }
    }
    int64_t integer(const std::string& name, int64_t otherwise, int64_t least) const {
        int64_t n = given.fields.count(name) ? given[name].integer(name) : otherwise;
        if (n < least) throw Wrong(name + " must be at least " + std::to_string(least) + ", not " + std::to_string(n));
        return n;
    }
    bool flag(const std::string& name, bool otherwise) const {
        return given.fields.count(name) ? given[name].number != 0 : otherwise;
    }
    std::string choice(const std::string& name, const std::string& otherwise, const std::set<std::string>& lacking) const {
        if (!given.fields.count(name)) return otherwise;
        if (lacking.count(given[name].text)) throw Unsupported(name + "=" + shown(given[name]));
        if (given[name].text != otherwise) throw Wrong("no such " + name);
        return otherwise;
    }
    bool is_text(const std::string& name) const { return given[name].kind == Json::Text; }
    Shape pair(const std::string& name, int64_t otherwise, int64_t least) const {  // 3, [3] or [3, 4]
        const Json& value = given[name];
        Shape out{otherwise, otherwise};
        if (value.kind == Json::List && value.list.size() != 1 && value.list.size() != 2) throw Wrong(name + " must be two integers");
        if (value.kind == Json::List) out = {value.list.front().integer(name), value.list.back().integer(name)};
        else if (given.fields.count(name)) out = Shape(2, value.integer(name));
        if (out[0] < least || out[1] < least) throw Wrong(name + " must be at least " + std::to_string(least));
        return out;
    }
};

// Calls refuse what is wrong before they find that there are no values: `filled` is false then.
static Tensor linear(const Tensor& x, const Tensor& w, const Tensor* b, bool filled = true) {
    if (w.shape.empty() || w.shape.size() > 2) throw Wrong("weight must have one or two dimensions");
    int64_t k = w.shape.back(), n = w.shape.size() == 2 ? w.shape[0] : 1;
    if (x.shape.empty() || x.shape.back() != k) throw Wrong("the last dimension of input must be " + std::to_string(k));
    if (b && !b->shape.empty() && b->shape != Shape(w.shape.begin(), w.shape.end() - 1)) throw Wrong("bias must have out_features elements");
    if (!filled) throw Unsupported("initialisation");
    Tensor y{x.dtype, x.shape, {}};
    y.shape.pop_back();
    int64_t rows = elements(y.shape);
    if (w.shape.size() == 2) y.shape.push_back(n);
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < n; ++j) {
            double sum = b && bug != "bias-dropped" ? b->data[b->shape.empty() ? 0 : j] : 0;
            for (int64_t l = 0; l < k; ++l) sum += x.data[i * k + l] * w.data[j * k + l];
            y.data.push_back(sum);
        }
    return y;
}

struct Window { Shape stride, padding, dilation; int64_t groups; };

static Window window(const Arguments& a) {
    a.choice("padding_mode", "zeros", {"reflect", "replicate", "circular"});
    bool valid = a.is_text("padding") && a.choice("padding", "valid", {"same"}) == "valid";
    return {a.pair("stride", 1, 1), valid ? Shape{0, 0} : a.pair("padding", 0, 0), a.pair("dilation", 1, 1), a.integer("groups", 1, 1)};
}

static Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor* b, const Window& at, bool filled = true) {
    size_t rank = x.shape.size();
    if (w.shape.size() != 4) throw Wrong("weight must have four dimensions");
    if (rank != 3 && rank != 4) throw Wrong("input must have three or four dimensions");
    int64_t O = w.shape[0], C = w.shape[1], KH = w.shape[2], KW = w.shape[3];
    int64_t N = rank == 4 ? x.shape[0] : 1, H = x.shape[rank - 2], W = x.shape[rank - 1];
    if (x.shape[rank - 3] != C * at.groups) throw Wrong("input must have " + std::to_string(C * at.groups) + " channels");
    if (O % at.groups) throw Wrong("out_channels must be divisible by groups");
    if (b && b->shape != Shape{O}) throw Wrong("bias must have out_channels elements");
    if (KH < 1 || KW < 1) throw Wrong("kernel_size must be at least 1");
    int64_t reach_h = H + 2 * at.padding[0] - at.dilation[0] * (KH - 1) - 1;
    int64_t reach_w = W + 2 * at.padding[1] - at.dilation[1] * (KW - 1) - 1;
    if (reach_h < 0 || reach_w < 0) throw Wrong("the kernel is larger than the padded input");
    if (!filled) throw Unsupported("initialisation");
    int64_t OH = reach_h / at.stride[0] + 1, OW = reach_w / at.stride[1] + 1, in_group = O / at.groups;
    Tensor y{x.dtype, rank == 4 ? Shape{N, O, OH, OW} : Shape{O, OH, OW}, {}};
    for (int64_t n = 0; n < N; ++n) for (int64_t o = 0; o < O; ++o)
    for (int64_t i = 0; i < OH; ++i) for (int64_t j = 0; j < OW; ++j) {
        double sum = b && bug != "bias-dropped" ? b->data[o] : 0;
        for (int64_t c = 0; c < C; ++c) for (int64_t p = 0; p < KH; ++p) for (int64_t q = 0; q < KW; ++q) {
            int64_t h = i * at.stride[0] + p * at.dilation[0] - at.padding[0];
            int64_t v = j * at.stride[1] + q * at.dilation[1] - at.padding[1];
            if (h < 0 || h >= H || v < 0 || v >= W) continue;
            sum += x.data[((n * C * at.groups + o / in_group * C + c) * H + h) * W + v] * w.data[((o * C + c) * KH + p) * KW + q];
        }
        y.data.push_back(sum);
    }
    return y;
}

// A layer has its parameters, named and of known shape, and a way to call it.
struct Layer {
    std::string dtype;
    State parameters;
    bool filled = false;
    bool inplace = false;

    virtual ~Layer() = default;
    virtual Tensor call(const Inputs& inputs) const = 0;
    const Tensor* parameter(size_t place) const { return place < parameters.size() ? &parameters[place].second : nullptr; }
    void add(const std::string& name, Shape shape) { parameters.push_back({name, {"", shape, {}}}); }
    void load(const Json& state) {
        if (state.fields.size() != parameters.size()) throw Wrong("state has other names than the layer");
        for (auto& [name, parameter] : parameters) {
            if (!state.has(name)) throw Wrong("state has no " + name);
            Tensor given = tensor(state[name], dtype);
            if (given.shape != parameter.shape) throw Wrong(name + " has another shape in the state");
            parameter = std::move(given);
        }
        filled = true;
    }
};

static const Tensor& required(const Inputs& in, size_t place, const char* name) {
    if (place >= in.size() || !in[place]) throw Wrong(std::string(name) + " is missing");
    return *in[place];
}

struct ReLU : Layer {
    ReLU(const Arguments& a) { inplace = a.flag("inplace", false); }
    Tensor call(const Inputs& inputs) const override {
        Tensor y = *inputs.at(0);
        for (double& v : y.data) if (v < 0) v = 0;  // NaN stays
        return y;
    }
};

struct FunctionalLinear : Layer {
    FunctionalLinear(const Arguments&) {}
    Tensor call(const Inputs& in) const override { return linear(*in.at(0), required(in, 1, "weight"), in.at(2).get()); }
};

struct Linear : Layer {
    Linear(const Arguments& a) {
        int64_t k = a.integer("in_features", 0, 0), n = a.integer("out_features", 0, 0);
        add("weight", {n, k});
        if (a.flag("bias", true)) add("bias", {n});
    }
    Tensor call(const Inputs& in) const override { return linear(*in.at(0), *parameter(0), parameter(1), filled); }
};

struct FunctionalConv2d : Layer {
    Window at;
    FunctionalConv2d(const Arguments& a) : at(window(a)) {}
    Tensor call(const Inputs& in) const override { return conv2d(*in.at(0), required(in, 1, "weight"), in.at(2).get(), at); }
};

struct Conv2d : Layer {
    Window at;
    Conv2d(const Arguments& a) : at(window(a)) {
        int64_t C = a.integer("in_channels", 0, 0), O = a.integer("out_channels", 0, 1);
        Shape kernel = a.pair("kernel_size", 1, 1);
        if (C % at.groups || O % at.groups) throw Wrong("in_channels and out_channels must be divisible by groups");
        add("weight", {O, C / at.groups, kernel[0], kernel[1]});
        if (a.flag("bias", true)) add("bias", {O});
    }
    Tensor call(const Inputs& in) const override { return conv2d(*in.at(0), *parameter(0), parameter(1), at, filled); }
};

static std::map<int64_t, std::unique_ptr<Layer>> layers;
static int64_t last = 0;

static std::unique_ptr<Layer> built(const Json& request) {
    const std::string name = request["layer"].text;
    const Json& given = request["arguments"];
    if (name == "ReLU") return std::make_unique<ReLU>(Arguments(given, {"inplace"}));
    if (name == "functional.linear") return std::make_unique<FunctionalLinear>(Arguments(given, {}));
    if (name == "Linear") return std::make_unique<Linear>(Arguments(given, {"in_features", "out_features", "bias"}));
    if (name == "functional.conv2d")
        return std::make_unique<FunctionalConv2d>(Arguments(given, {"stride", "padding", "dilation", "groups"}));
    if (name == "Conv2d")
        return std::make_unique<Conv2d>(Arguments(given, {"in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode"}));
    throw Unsupported(name);
}

static std::string answer(const Json& request) {
    const std::string op = request["op"].text;
    for (const Json& number : request["drop"].list) layers.erase(number.integer("drop"));
    if (op == "hello")
        return R"({"protocol":1,"name":"cpp-example","info":{"compiler":")" __VERSION__ R"("},"dtypes":["float32","float64"],)"
               R"("layers":["Linear","functional.linear","ReLU","Conv2d","functional.conv2d"]})";
    if (op == "build") {
        std::unique_ptr<Layer> layer = built(request);
        layer->dtype = request["dtype"].text;
        if (!request["state"].fields.empty() || layer->parameters.empty()) layer->load(request["state"]);
        layers[++last] = std::move(layer);
        return "{\"layer\":" + std::to_string(last) + ",\"has\":[\"state\",\"load\",\"train\"]}";
    }
    auto found = layers.find(request["layer"].integer("layer"));
    if (found == layers.end()) throw Wrong("no such layer");
    Layer& layer = *found->second;
    if (op == "call") {
        Arguments(request["keywords"], {});
        Inputs inputs;
        for (const Json& x : request["inputs"].list) {
            if (x.has("same")) inputs.push_back(std::make_unique<Tensor>(*inputs.at(x["same"].integer("same"))));
            else inputs.push_back(x.kind == Json::Null ? nullptr : std::make_unique<Tensor>(tensor(x, layer.dtype)));
        }
        std::string output = written(layer.call(inputs));
        return "{\"outputs\":[" + output + "]" + (layer.inplace ? ",\"written\":{\"0\":" + output + "}" : "") + "}";
    }
    if (op == "state") {
        if (!layer.filled) throw Unsupported("initialisation");
        std::string state;
        for (const auto& [name, value] : layer.parameters) state += (state.empty() ? "" : ",") + quoted(name) + ":" + written(value);
        return "{\"state\":{" + state + "}}";
    }
    if (op == "load") { layer.load(request["state"]); return "{}"; }
    if (op == "train") return "{}";  // no layer here has modes
    throw Unsupported(op);
}

int main(int argc, char** argv) {
    if (argc == 3 && std::string(argv[1]) == "--bug") bug = argv[2];
    for (std::string line; std::getline(std::cin, line);) {
        Json request = Reader(line).value();
        std::string result;
        try { result = "\"ok\":" + answer(request); }
        catch (const Unsupported& e) { result = "\"unsupported\":" + quoted(e.what()); }
        catch (const std::exception& e) { result = "\"error\":" + quoted(e.what()); }
        std::cout << "{\"id\":" << request["id"].integer("id") << "," << result << "}" << std::endl;
    }
}
