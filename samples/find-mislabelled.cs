#!/usr/bin/env -S dotnet run
#:project ../src/Influence/Influence.csproj
#:package TorchSharp-cpu@0.107.0
#:property PublishAot=false

// Finds mislabelled images: a tenth of the labels of 3,000 Fashion-MNIST images is changed, a network is trained on all of them, and
// two rankings find the changed ones again. Reads Debian's package dataset-fashion-mnist.
//
// In a program of your own, write #:package Influence@0.1.0 in place of the line #:project.

using System.IO.Compression;
using Influence;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Scorers;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

const int count = 3000;
const int epochs = 3;
string[] names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

// The data, and the labels that are given.
var right = Read("train-labels-idx1", header: 8, length: count);
var draw = new Random(1);
var flipped = Enumerable.Range(0, count).OrderBy(_ => draw.Next()).Take(count / 10).Select(i => (long)i).ToHashSet();
long[] given = [.. right.Select((label, i) => flipped.Contains(i) ? (label + draw.Next(1, 10)) % 10 : (long)label)];
using var images = tensor(Read("train-images-idx3", header: 16, length: count * 784))
    .reshape(-1, 1, 28, 28)
    .to_type(ScalarType.Float32)
    .sub_(73)
    .div_(90); // [N, 1, 28, 28], about standardised
using var labels = tensor(given); // [N]

// Train, and keep a checkpoint each epoch.
random.manual_seed(1);
using var model = nn.Sequential(
    ("conv1", nn.Conv2d(1, 16, 5, stride: 2, padding: 2)),
    ("relu1", nn.ReLU()),
    ("conv2", nn.Conv2d(16, 32, 5, stride: 2, padding: 2)),
    ("relu2", nn.ReLU()),
    ("flatten", nn.Flatten()),
    ("linear", nn.Linear(32 * 7 * 7, 10))
);
using var optimizer = optim.SGD(model.parameters(), 0.1);
var folder = Directory.CreateTempSubdirectory("find-mislabelled-");
using var recorder = new CheckpointRecorder(folder.FullName) { EverySteps = count / 50 };
long[] order = [.. Enumerable.Range(0, count)];
for (var epoch = 0; epoch < epochs; epoch++)
{
    draw.Shuffle(order);
    foreach (var ids in order.Chunk(50))
    {
        using var scope = NewDisposeScope();
        var batch = tensor(ids);
        optimizer.zero_grad();
        nn.functional.cross_entropy(model.call(images[batch]), labels[batch]).backward();
        optimizer.step();
        recorder.Step(model, optimizer);
    }
}

model.eval();

// Rank by self-influence over the checkpoints, and by the loss alone.
var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["image"]), b["label"]) };
var train = Examples.FromTensors(("image", images), ("label", labels)) with { BatchSize = 250 };
var bySelfInfluence = new TracIn { Checkpoints = recorder.Checkpoints }.SelfInfluence(task, train);
var byLoss = new ExampleLosses().Score(task, train);
Console.WriteLine(bySelfInfluence.Highest(10).Describe(id => $"given {names[given[id]]}, is {names[right[id]]}"));
Console.WriteLine();
Console.WriteLine(new MislabelDetection().Evaluate(bySelfInfluence, flipped));
Console.WriteLine();
Console.WriteLine(new MislabelDetection().Evaluate(byLoss, flipped));
folder.Delete(recursive: true);

// The files are gzip around a short header and then one byte a value.
static byte[] Read(string file, int header, int length)
{
    using var stream = new GZipStream(File.OpenRead($"/usr/share/datasets/fashion-mnist/{file}-ubyte.gz"), CompressionMode.Decompress);
    stream.ReadExactly(new byte[header]);
    var values = new byte[length];
    stream.ReadExactly(values);
    return values;
}
