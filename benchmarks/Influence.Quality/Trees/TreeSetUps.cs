using Influence.Quality.Parts;
using Influence.Trees;

namespace Influence.Quality.Trees;

/// <summary>A table, and how LightGBM is trained on it.</summary>
/// <param name="Note">What the data are.</param>
/// <param name="Train">Training examples; ids are rows of the table.</param>
/// <param name="Queries">Rows that are explained.</param>
/// <param name="Clean">Other rows with right labels, by which harm is measured where labels are flipped.</param>
/// <param name="Classes">How many.</param>
/// <param name="Parameters">LightGBM's.</param>
/// <param name="Iterations">Of boosting.</param>
internal sealed record TreeSetUp(
    string Note,
    TabularExamples Train,
    TabularExamples Queries,
    TabularExamples Clean,
    int Classes,
    string Parameters,
    int Iterations
);

/// <summary>Tables that Debian's R packages carry.</summary>
internal static class TreeSetUps
{
    private const int Seed = 5;
    private const string Boosting = "learning_rate=0.1 num_leaves=15 min_data_in_leaf=10 lambda_l2=1";

    public static TreeSetUp Spambase(PartContext context) =>
        Of(
            "spam.rdx",
            "r-cran-kernlab",
            "type",
            "Spambase (UCI), 57 word and character frequencies of mails",
            2,
            $"objective=binary {Boosting}",
            context.Pick(1500, 300),
            context.Pick(200, 40),
            context.Pick(60, 10)
        );

    private static TreeSetUp Of(
        string file,
        string package,
        string target,
        string note,
        int classes,
        string parameters,
        int train,
        int queries,
        int iterations
    )
    {
        var path = Path.Combine(Repository.Folder("artifacts", "data", "tables"), file);
        if (!File.Exists(path))
        {
            throw new BenchmarkException($"{file} is not there: ./build.sh quality fetches it (Debian package {package}).");
        }

        var columns = RdaTable.Load(path).Columns;
        var labels = columns.Single(c => c.Name == target).Values;
        double[][] features = [.. columns.Where(c => c.Name != target).Select(c => c.Values)];
        int[] order = [.. Enumerable.Range(0, labels.Length)];
        new Random(Seed).Shuffle(order);
        return new TreeSetUp(
            $"{note}, from Debian's {package}; {train:N0} training rows, {queries:N0} queries, {queries:N0} further rows with right "
                + $"labels, drawn with seed {Seed}",
            Rows(order[..train]),
            Rows(order[train..(train + queries)]),
            Rows(order[(train + queries)..(train + (2 * queries))]),
            classes,
            parameters,
            iterations
        );

        TabularExamples Rows(int[] some)
        {
            var table = new double[some.Length, features.Length];
            for (var i = 0; i < some.Length; i++)
            {
                for (var f = 0; f < features.Length; f++)
                {
                    table[i, f] = features[f][some[i]];
                }
            }

            return new TabularExamples(table, [.. some.Select(i => labels[i])], [.. some.Select(i => (long)i)]);
        }
    }
}
