namespace DataMixture;

/// <summary>How much a measurement looks at.</summary>
/// <param name="WindowsPerDomain">Drawn anew for every measurement, from all of a domain.</param>
/// <param name="CurvatureWindows">For EK-FAC; 0 for none, which leaves plain gradient products.</param>
internal readonly record struct MeasurementSize(int WindowsPerDomain, int CurvatureWindows);
