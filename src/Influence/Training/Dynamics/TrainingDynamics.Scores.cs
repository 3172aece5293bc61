using System.Globalization;
using Influence.Display;

namespace Influence.Training;

// Scores from what was recorded.
public sealed partial class TrainingDynamics
{
    /// <summary>
    /// EL2N, <c>mean_t ||softmax(u_t) - onehot(y)||_2</c>, 0 to sqrt 2: high = hard to learn, the highest often mislabelled (Paul et
    /// al., Deep Learning on a Data Diet, 2021). The paper takes an early epoch of some ten runs: <see cref="ExampleScores.Mean"/>.
    /// </summary>
    /// <param name="presentations">Which presentations of each example; null = all.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">Nothing is recorded in that range.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public ExampleScores El2n(Range? presentations = null) =>
        Mean("EL2N", Window(presentations), _log.El2n, "high = hard to learn, or mislabelled", "distance of probabilities, 0 to sqrt 2");

    /// <summary>The mean loss, in nats; over the positions that count first, where an example has several.</summary>
    /// <param name="presentations">Which presentations of each example; null = all.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">Nothing is recorded in that range.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public ExampleScores MeanLoss(Range? presentations = null) =>
        Mean("Mean loss", Window(presentations), _log.Loss, "high = hard to learn, or mislabelled", "nats");

    /// <summary>The loss at each example's last presentation, in nats.</summary>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">Nothing is recorded yet.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public ExampleScores LastLoss() => Mean("Last loss", Window(^1..), _log.Loss, "high = hard to learn, or mislabelled", "nats");

    /// <summary>
    /// Area under the margin, <c>mean_t (u_y - max_{j != y} u_j)</c> of the logits u: low, above all negative = likely
    /// mislabelled (Pleiss et al., 2020, eq. 1 and 2). The paper ends the range at the first drop of the learning rate, before the
    /// network learns wrong labels by heart. <see cref="AumThreshold"/> finds the value below which to distrust a label.
    /// </summary>
    /// <param name="presentations">Which presentations of each example, such as <c>..150</c>; null = all.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">Nothing is recorded in that range.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public ExampleScores AreaUnderMargin(Range? presentations = null) =>
        Mean("Area under the margin", Window(presentations), _log.Margin, "low = likely mislabelled", "logits");

    /// <summary>
    /// GraNd, <c>mean_t ||grad l(x)||_2</c> over the norms that <see cref="RecordGradientNorms"/> was given (Paul et al., 2021). The
    /// range counts those records.
    /// </summary>
    /// <param name="presentations">Which records of each example; null = all.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">Nothing is recorded in that range.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public ExampleScores Grand(Range? presentations = null)
    {
        Fetch();
        return Mean(
            "GraNd",
            new PresentationWindow(_norms.Appearances, _ids.Count, presentations ?? Range.All, "gradient norm"),
            _norms.Norms,
            "high = hard to learn, or mislabelled",
            "gradient norm"
        );
    }

    /// <summary>
    /// Forgetting events: how often an example goes from correct at one presentation to wrong at its next (Toneva et al., 2019,
    /// section 2). Counted over the presentations in the range only.
    /// </summary>
    /// <param name="presentations">Which presentations of each example; null = all.</param>
    /// <param name="neverLearnt">
    /// The score of an example that was never correct. Infinite by default, which puts it before all others; the paper's code
    /// takes the number of epochs, a value that still works where the events of several runs are added up.
    /// </param>
    /// <returns>The events, which examples were never forgotten, and which were never learnt.</returns>
    /// <exception cref="InfluenceException">Nothing is recorded in that range, or the value is NaN or negative.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public ForgettingEvents ForgettingEvents(Range? presentations = null, double neverLearnt = double.PositiveInfinity)
    {
        if (double.IsNaN(neverLearnt) || neverLearnt < 0)
        {
            throw new InfluenceException(
                "The score of examples that were never learnt is at least 0; found "
                    + $"{neverLearnt.ToString(CultureInfo.InvariantCulture)}."
            );
        }

        var window = Window(presentations);
        var (events, learnt, before) = (new int[_ids.Count], new bool[_ids.Count], new bool[_ids.Count]);
        window.ForEach(
            (example, position) =>
            {
                var correct = _log.Correct[position] != 0;
                events[example] += before[example] && !correct ? 1 : 0;
                learnt[example] |= correct;
                before[example] = correct;
            }
        );
        var order = Order(window);
        var scores = Scores(
            "Forgetting events",
            window,
            order,
            i => learnt[i] ? events[i] : neverLearnt,
            "high = often forgotten, or never learnt",
            "events",
            $"never learnt = {neverLearnt.ToString(CultureInfo.InvariantCulture)}"
        );
        return new ForgettingEvents(
            scores,
            [.. order.Where(i => learnt[i] && events[i] == 0).Select(i => _ids[i])],
            [.. order.Where(i => !learnt[i]).Select(i => _ids[i])]
        );
    }

    /// <summary>
    /// Dataset Cartography (Swayamdipta et al., 2020, section 2): over the presentations t in the range, of the label's probability
    /// p_t
    /// <code>
    /// confidence = mean_t p_t,   variability = sqrt(mean_t (p_t - confidence)^2),
    /// correctness = number of t with a correct prediction
    /// </code>
    /// </summary>
    /// <param name="presentations">Which presentations of each example; null = all. <c>1..</c> leaves out the first epoch, as the paper's
    /// code can.</param>
    /// <returns>The map.</returns>
    /// <exception cref="InfluenceException">Nothing is recorded in that range.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public Cartography Cartography(Range? presentations = null)
    {
        var window = Window(presentations);
        var (mean, square, correct) = (new double[_ids.Count], new double[_ids.Count], new int[_ids.Count]);
        window.ForEach(
            (example, position) =>
            {
                mean[example] += _log.Probability[position] / (double)window.CountOf(example);
                correct[example] += _log.Correct[position];
            }
        );
        window.ForEach(
            (example, position) => square[example] += Math.Pow(_log.Probability[position] - mean[example], 2) / window.CountOf(example)
        );
        return new Cartography(
            [.. Order(window).Select(i => new Cartography.Point(_ids[i], mean[i], Math.Sqrt(square[i]), correct[i], window.CountOf(i)))],
            Metadata(window)
        );
    }

    /// <summary>A summary: for each score its mean, lowest and highest over the examples.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable()
    {
        Fetch();
        var title = string.Create(
            CultureInfo.InvariantCulture,
            $"Training dynamics: {_ids.Count:N0} examples, {_log.Count:N0} presentations in {StepCount:N0} steps, {Classes:N0} classes"
        );
        title +=
            _log.Empty == 0
                ? string.Empty
                : string.Create(CultureInfo.InvariantCulture, $", {_log.Empty:N0} presentations without a position that counts");
        var rows = new List<IReadOnlyList<object>>();
        if (_log.Count > 0)
        {
            var (map, forgetting) = (Cartography(), ForgettingEvents());
            var learnt = forgetting.Scores.Values.Where(double.IsFinite).ToList();
            rows.Add(Row("confidence", map.Confidence.Values));
            rows.Add(Row("variability", map.Variability.Values));
            rows.Add(Row("correct, share", map.CorrectFraction.Values));
            rows.Add(Row("area under the margin", AreaUnderMargin().Values));
            rows.Add(Row("EL2N", El2n().Values));
            rows.Add(Row("mean loss", MeanLoss().Values));
            rows.Add(
                Row(
                    string.Create(CultureInfo.InvariantCulture, $"forgetting events ({forgetting.NeverLearnt.Count:N0} never learnt)"),
                    learnt
                )
            );
        }

        if (_norms.Appearances.Most > 0)
        {
            rows.Add(Row("gradient norm", Grand().Values));
        }

        return new Table(title, ["", "mean", "lowest", "highest"], rows);
    }

    private static IReadOnlyList<object> Row(string name, IReadOnlyList<double> values) =>
        values.Count == 0 ? [name, double.NaN, double.NaN, double.NaN] : [name, values.Average(), values.Min(), values.Max()];

    private PresentationWindow Window(Range? presentations)
    {
        Fetch();
        return new PresentationWindow(_log.Appearances, _ids.Count, presentations ?? Range.All, "presentation");
    }

    private ExampleScores Mean(string title, PresentationWindow window, Column<float> values, string sign, string unit)
    {
        var sum = new double[_ids.Count];
        window.ForEach((example, position) => sum[example] += values[position]);
        return Scores(title, window, Order(window), i => sum[i] / window.CountOf(i), sign, unit);
    }

    /// <summary>The window's examples in the order of their ids: runs that saw them in another order compare line by line.</summary>
    private int[] Order(PresentationWindow window)
    {
        int[] order = [.. window.Members];
        Array.Sort(Array.ConvertAll(order, i => _ids[i]), order);
        return order;
    }

    private ExampleScores Scores(
        string title,
        PresentationWindow window,
        int[] order,
        Func<int, double> score,
        string sign,
        string unit,
        string note = ""
    )
    {
        var metadata = Metadata(window);
        return new ExampleScores(
            title,
            Array.ConvertAll(order, i => _ids[i]),
            Array.ConvertAll(order, i => score(i)),
            metadata with
            {
                Estimator = note.Length == 0 ? $"{title}, {metadata.Estimator}" : $"{title}, {metadata.Estimator}, {note}",
                Sign = sign,
                Unit = unit,
                Notes = note.Length == 0 ? metadata.Notes : $"{metadata.Notes}; {note}",
            }
        );
    }

    private ScoreMetadata Metadata(PresentationWindow window) =>
        new()
        {
            Estimator = window.Name,
            Checkpoints = string.Create(CultureInfo.InvariantCulture, $"the weights before each of {StepCount} training steps"),
            LossReduction = "per example, the mean over its positions that count",
            Unit = "its own",
            Notes = window.Describe(),
            Integrity = _integrity,
        };
}
