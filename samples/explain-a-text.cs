#!/usr/bin/env -S dotnet run
#:project ../src/Influence/Influence.csproj
#:package TorchSharp-cpu@0.107.0
#:property PublishAot=false

// Explains texts by what a model was trained on: a small network that predicts the next byte from the eight before it learns from passages
// in four domains, and influence functions name the passages behind texts that it never saw. Reads Debian's packages fortunes-es,
// fortunes-it, fortunes-ru and libjs-jquery.
//
// In a program of your own, write #:package Influence@0.1.0 in place of the line #:project.

using System.Text;
using Influence;
using Influence.Curvature;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

const int context = 8;
const int length = 40;
const string fortunes = "/usr/share/games/fortunes";

// Passages of 48 bytes: eight that are given and forty to predict.
(string Name, string Text)[] domains =
[
    ("Spanish", File.ReadAllText($"{fortunes}/es/arte.fortunes") + File.ReadAllText($"{fortunes}/es/ciencia.fortunes")),
    ("Italian", File.ReadAllText($"{fortunes}/it/formiche") + File.ReadAllText($"{fortunes}/it/leggi")),
    ("Russian", File.ReadAllText($"{fortunes}/ru/book") + File.ReadAllText($"{fortunes}/ru/life")),
    ("JavaScript", File.ReadAllText("/usr/share/javascript/jquery/jquery.js")),
];
var draw = new Random(1);
var all = domains
    .SelectMany(d =>
        Encoding
            .UTF8.GetBytes(d.Text)
            .Chunk(context + length)
            .Where(c => c.Length == context + length)
            .OrderBy(_ => draw.Next())
            .Take(202)
            .Select((bytes, at) => (d.Name, Bytes: bytes, Asked: at < 2))
    )
    .ToArray();
var trained = all.Where(p => !p.Asked).ToArray();
var asked = all.Where(p => p.Asked).ToArray();
var (x, y) = ToTensors([.. trained.Select(p => p.Bytes)]);
var (askedX, askedY) = ToTensors([.. asked.Select(p => p.Bytes)]);

// Train.
random.manual_seed(1);
using var model = nn.Sequential(
    ("bytes", nn.Embedding(256, 16)),
    ("flatten", nn.Flatten(2)),
    ("in", nn.Linear(context * 16, 96)),
    ("relu", nn.ReLU()),
    ("out", nn.Linear(96, 256))
);
using var optimizer = optim.AdamW(model.parameters(), 3e-3);
long[] order = [.. Enumerable.Range(0, trained.Length)];
for (var epoch = 0; epoch < 10; epoch++)
{
    draw.Shuffle(order);
    foreach (var ids in order.Chunk(16))
    {
        using var scope = NewDisposeScope();
        var batch = tensor(ids);
        optimizer.zero_grad();
        nn.functional.cross_entropy(model.call(x[batch]).flatten(0, 1), y[batch].flatten()).backward();
        optimizer.step();
    }
}

model.eval();

// Explain: the curvature once, then a score for each pair of a text and a training passage.
var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"], ones_like(b["y"])) };
var train = Examples.FromTensors(("x", x), ("y", y));
var queries = Examples.FromTensors(("x", askedX), ("y", askedY));
using var curvature = Ekfac.Fit(task, train, new Ekfac.Options { Seed = 1 });
using var scores = new InfluenceFunction(curvature).Score(task, train, queries);
for (var query = 0; query < asked.Length; query++)
{
    var strongest = scores.Proponents(query, 10);
    Console.WriteLine($"{asked[query].Name}: {Text(asked[query].Bytes)}");
    Console.WriteLine(
        $"  {strongest.Ids.Count(id => trained[id].Name == asked[query].Name)} of its 10 strongest proponents are of its "
            + "own domain; by chance 2.5"
    );
    foreach (var proponent in strongest.Take(2))
    {
        Console.WriteLine($"  {proponent.Score, 8:0.00}  {trained[proponent.Id].Name}: {Text(trained[proponent.Id].Bytes)}");
    }
}

// On one line, and without the part of a character at either end.
static string Text(byte[] bytes) =>
    string.Join(' ', Encoding.UTF8.GetString(bytes).Replace('\uFFFD', ' ').Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));

// x [N, 40, 8]: what each byte is predicted from; y [N, 40].
static (Tensor X, Tensor Y) ToTensors(byte[][] passages)
{
    var from = passages.SelectMany(p => Enumerable.Range(0, length).SelectMany(t => p[t..(t + context)])).Select(b => (long)b).ToArray();
    var to = passages.SelectMany(p => p[context..]).Select(b => (long)b).ToArray();
    return (tensor(from).reshape(-1, length, context), tensor(to).reshape(-1, length));
}
