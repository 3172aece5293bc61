using Influence;
using static TorchSharp.torch;

// Three classes, 240 training and 24 test examples of ten features; every twelfth training label is wrong.
random.manual_seed(1);
var centres = 2 * randn(3, 10);

(Tensor x, Tensor y) Draw(int count)
{
    var labels = arange(count, ScalarType.Int64).remainder(3);
    return (centres[labels] + randn(count, 10), labels);
}

var (features, trueLabels) = Draw(240);
var wrong = arange(240, ScalarType.Int64).remainder(12).eq(5);
var labels = where(wrong, (trueLabels + 1).remainder(3), trueLabels);
var (testFeatures, testLabels) = Draw(24);
string[] names = ["cat", "dog", "fox"];

var model = nn.Sequential(("in", nn.Linear(10, 16)), ("act", nn.ReLU()), ("out", nn.Linear(16, 3)));
var optimizer = optim.SGD(model.parameters(), 0.1);
