using Influence.Display;

namespace Influence.Notebooks;

/// <summary>What a notebook needs: TorchSharp that loads, progress that moves, objects that are shown as tables.</summary>
/// <remarks>
/// Nothing here depends on a notebook's engine. In .NET Interactive the package calls <see cref="Prepare"/> itself as soon as it is
/// referenced (<c>#r "nuget: Influence"</c>); in another front end write the call before the first use of TorchSharp.
/// </remarks>
public static class Notebook
{
    /// <summary>
    /// Loads TorchSharp's native library where this system's libstdc++ is older than it asks for, as on Debian 12, Ubuntu 22.04 and
    /// RHEL 9, and has .NET Interactive show this library's settings as tables. Elsewhere it does nothing.
    /// </summary>
    /// <remarks>
    /// A notebook is not built, so the package's build step cannot mend the file. The same correction is made here: a copy without
    /// the unused request for a newer libstdc++ is written to a temporary folder, loaded and deleted. The package's file stays as it
    /// is. Cost: under a second, once in a process; a second call does nothing.
    /// </remarks>
    /// <returns>One line that says what was done.</returns>
    /// <exception cref="InfluenceException">
    /// The library needs symbols of a newer libstdc++, or libtorch is not referenced yet.
    /// </exception>
    public static string Prepare()
    {
        InteractiveFormatters.Register();
        return TorchLibrary.Load();
    }

    /// <summary>
    /// Shows how far a long call has come, to be handed to its parameter <c>progress</c>. In .NET Interactive it is one bar that
    /// moves; elsewhere a line of text every five seconds and at the end.
    /// </summary>
    /// <remarks>
    /// The bar appears with the first report, below the cell that runs. It is rewritten at most five times a second. It does not rely on
    /// the value that <c>display(...)</c> returns: that one carries another id than what was displayed, so its updates reach no output of a
    /// Jupyter front end, and it stays at what it showed first.
    /// </remarks>
    /// <returns>A new display; use one for each call.</returns>
    public static IProgress<InfluenceProgress> Progress() => new ProgressDisplay(InteractiveDisplay.Show);
}
